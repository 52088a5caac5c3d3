"""The random numbers that an engine's seed stands for, where they can be had again without the engine's device.

llama.cpp draws by the inverse distribution function: one double of `std::mt19937` a token. Transformers
(`torch.multinomial`) and vLLM (its native sampler, for requests with a seed) divide the probabilities by exponential
noise of a `torch.Generator` and take the largest: the Gumbel-max trick. On a CPU only PyTorch itself gives that noise
again. On an NVIDIA GPU it is Philox, a function of seed, token, and how many threads the device runs at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import NotInstalledError
from intact._base.packages import install
from intact.numerics.sampling import MASK32, philox4x32

RANDOM_SEED = (1 << 32) - 1
"""llama.cpp's LLAMA_DEFAULT_SEED, which stands for a seed that nobody knows."""


def llama_uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """Return the first numbers in [0, 1) of `std::uniform_real_distribution<double>` over `std::mt19937(seed)`.

    Two outputs of 32 bits a number, the first the less significant one, as libstdc++ and libc++ make it.
    """
    words = np.frombuffer(np.random.RandomState(seed).bytes(8 * count), "<u4").astype(np.float64)
    numbers: NDArray[np.float64] = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    return numbers


def torch_exponentials(seed: int, vocabulary: int) -> Iterator[NDArray[np.float64]]:
    """Rows of `exponential_` on a CPU tensor, one a token, of a generator after `manual_seed(seed)`.

    Raises
    ------
    IntactError
        If PyTorch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise NotInstalledError(
            f"draws on a CPU come from PyTorch's generator: {install('torch')}, "
            "or audit without the seed (--ignore-seed)"
        ) from None
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.empty(1, vocabulary).exponential_(1, generator=generator).numpy()[0].astype(np.float64)


def cuda_exponentials(seed: int, vocabulary: int, threads: int) -> Iterator[NDArray[np.float64]]:
    """Rows of `exponential_` on an NVIDIA GPU: -log(u), u in (0, 1] of Philox4x32-10 (DistributionTemplates.h).

    The thread t of the kernel takes the subsequence t of the seed, four words at a time; the first go to the element t,
    the next to t + threads, and so on. Each row takes so many fours more. The GPU's own logarithm is an approximation
    in 32 bits; this one is not.

    Parameters
    ----------
    threads : int
        How many the device runs at a time: multiprocessors times threads of each, in whole blocks of 256.
    """
    launched = min(threads, -(-vocabulary // 256) * 256)
    fours = -(-vocabulary // (4 * launched))
    key = seed & MASK32, seed >> 32
    lanes: Any = np.arange(launched, dtype=np.uint64)
    counter = 0
    while True:
        words = [
            word
            for four in range(counter, counter + fours)
            for word in philox4x32((four & MASK32, four >> 32, lanes, 0), key)
        ]
        uniforms = np.concatenate(words)[:vocabulary].astype(np.float64) * 2.0**-32 + 2.0**-33
        yield np.maximum(-np.log(uniforms), 2.0**-24)
        counter += fours
