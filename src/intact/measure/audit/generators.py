"""Reproduce the random numbers that an engine's seed produces, where possible without the engine's device.

llama.cpp samples with the inverse distribution function, with one double of `std::mt19937` per token. Transformers
(`torch.multinomial`) and vLLM (its native sampler, for requests with a seed) divide the probabilities by exponential
noise from a `torch.Generator` and take the largest: the Gumbel-max trick. On a CPU, only PyTorch itself reproduces that
noise. On an NVIDIA GPU it is Philox, a function of the seed, the token, and the number of threads that the device runs
concurrently.
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
"""llama.cpp's LLAMA_DEFAULT_SEED, which means that the seed is unknown."""


def llama_uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """Yield numbers in [0, 1) from `std::uniform_real_distribution<double>` over `std::mt19937(seed)`.

    Each number takes two 32-bit outputs, the less significant one first, as in libstdc++ and libc++.
    """
    words = np.frombuffer(np.random.RandomState(seed).bytes(8 * count), "<u4").astype(np.float64)
    numbers: NDArray[np.float64] = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    return numbers


def torch_exponentials(seed: int, vocabulary: int) -> Iterator[NDArray[np.float64]]:
    """Yield rows of `exponential_` on a CPU tensor, one per token, from a generator after `manual_seed(seed)`.

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
    """Yield rows of `exponential_` on an NVIDIA GPU: -log(u), u in (0, 1] of Philox4x32-10 (DistributionTemplates.h).

    Thread t of the kernel takes subsequence t of the seed, four words at a time: the first word goes to element t, the
    next to t + threads, and so on. Each row advances by the number of groups of four that it used. The GPU uses a
    32-bit approximation of the logarithm; this code does not.

    Parameters
    ----------
    threads : int
        Number of threads that the device runs concurrently: multiprocessors times threads per multiprocessor, in whole
        blocks of 256.
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
