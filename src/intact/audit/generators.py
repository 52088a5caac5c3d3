"""The random numbers that an engine's seed stands for, where they can be had again without the engine's device.

llama.cpp draws by the inverse distribution function: one double of `std::mt19937` a token. Transformers on the CPU
draws by `torch.multinomial`, which divides the probabilities by exponential noise and takes the largest: the Gumbel-max
trick. vLLM's noise comes from the GPU's generator, whose numbers depend on how the device splits a kernel: they are not
to be had here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from intact.errors import IntactError

RANDOM_SEED = (1 << 32) - 1
"""llama.cpp's LLAMA_DEFAULT_SEED, which stands for a seed that nobody knows."""


def llama_uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """The first numbers in [0, 1) of `std::uniform_real_distribution<double>` over `std::mt19937(seed)`.

    Two outputs of 32 bits a number, the first the less significant one, as libstdc++ and libc++ make it.
    """
    words = np.frombuffer(np.random.RandomState(seed).bytes(8 * count), "<u4").astype(np.float64)
    numbers: NDArray[np.float64] = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    return numbers


def torch_exponentials(seed: int, vocabulary: int) -> Iterator[NDArray[np.float64]]:
    """The noise of `torch.multinomial` for one row of a CPU tensor, position by position, after `manual_seed`.

    Raises
    ------
    IntactError
        If PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise IntactError(
            "the draws of Transformers come from PyTorch's generator: pip install 'intact[transformers]', "
            "or audit without the seed (--ignore-seed)"
        ) from None
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.empty(1, vocabulary).exponential_(1, generator=generator).numpy()[0].astype(np.float64)
