"""Conformance by digest: the digests that every tier and executor must print, and the programs that produce them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

from intact._base.errors import ParameterError
from intact._base.files import expand_home
from intact.checkpoints.catalogue import DEFAULT, entry, find
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, chosen_tier
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.digests import (
    MakeExecutor,
    combined,
    layout_digests,
    logits_digest,
    operations_digest,
    profile_digests,
    tokens_digest,
)
from intact.measure.conformance.kernels import Kernels, NativeKernels, ReferenceKernels
from intact.measure.conformance.synthetic import PAGE, cases
from intact.models import build_program
from intact.numerics.profiles import Profile
from intact.text import Tokenizer

ExecutorName: TypeAlias = Literal["native", "reference", "wgpu"]

Verdict: TypeAlias = Literal["equal", "refused", "different"]

TOKENS = 64
FEW_TOKENS = 4  # for the reference, which takes seconds per token

EXPECTED = {
    "operations": "29f28e246cf81f19407c51ff4f02c80620ebb07e01234eca73df5c0ed4551974",
    "layouts": "7fccbf351f8be9b96fd5611036cf7a1232fb495b776e4314c0df8d1b526e3bac",
    "profiles": "bbca7cf9013134be433a21b982e32117aa8d87703ad1417bf8490a4fbdc7da1b",
    "tokens": "03f348a2533d287daeae81e8fdf5b634ff0fbc4df8f738c9ce1b5d3808a54701",
    "tokens, first 4": "bdf1387a1c06bc3187a585431c1fa6e941f4e86329ade22d91b74b79496a8281",
}
"""The digests of this numerics version, also listed in docs/spec/contract.md."""


def default_model() -> Path | None:
    """Return the path of the default model: where it was pulled to, else in the folder INTACT_MODELS, else None."""
    folder = os.environ.get("INTACT_MODELS")
    other = expand_home(folder) / entry(DEFAULT).file if folder else None
    return find(DEFAULT) or (other if other is not None and other.is_file() else None)


def make_executor(
    executor: ExecutorName = "native", tier: str | None = None, threads: int | None = None, profile: Profile = "int8"
) -> MakeExecutor:
    """Return a function that makes executors: the native one on a tier (by default the best), the reference or wgpu."""
    if executor == "reference":
        return lambda program, bits: ReferenceExecutor(program, bits, PAGE, profile)
    if executor == "wgpu":
        from intact.executors.wgpu import WgpuExecutor

        return lambda program, bits: WgpuExecutor(program, profile, threads, bits, PAGE)
    return lambda program, bits: NativeExecutor(program, profile, threads, tier, bits, PAGE)


def make_kernels(executor: ExecutorName = "native", tier: str | None = None) -> Kernels:
    """Return the kernels that run single operations: those of a native tier, or the reference."""
    return ReferenceKernels() if executor == "reference" else NativeKernels(tier or chosen_tier())


def selftest(executor: ExecutorName = "native", tier: str | None = None, threads: int | None = None) -> dict[str, str]:
    """Compute the digests listed in docs/spec/contract.md.

    Returns
    -------
    dict
        `operations`, over every operation and weight format; `layouts`, over products of every layout of integer
        weights; `profiles`, over programs in every integer profile except int8; `tokens`, over 64 greedy and 64 sampled
        tokens of the default model with their log-probabilities (for the reference `tokens, first 4`). The last one is
        omitted if the model's file is not available.
    """
    make = make_executor(executor, tier, threads)
    kernels = make_kernels(executor, tier)
    digests = {
        "operations": operations_digest(kernels, make),
        "layouts": combined(layout_digests(kernels)),
        "profiles": combined(profile_digests(lambda profile: make_executor(executor, tier, threads, profile))),
    }
    path = default_model()
    if path is not None:
        count = FEW_TOKENS if executor == "reference" else TOKENS
        digests["tokens" if count == TOKENS else f"tokens, first {count}"] = model_digest(make, path, count)
    return digests


def compare_programs(executor: ExecutorName) -> Iterator[tuple[str, Verdict]]:
    """Run each synthetic program on an executor and on the native one.

    Yields
    ------
    (str, {'equal', 'refused', 'different'})
        The program's name and the comparison; 'refused' if the executor lacks one of its operations.
    """
    make, native = make_executor(executor), make_executor()
    for case in cases():
        try:
            other = make(case.program, case.bits)
        except ParameterError:
            yield case.name, "refused"
            continue
        alike = logits_digest(case, other) == logits_digest(case, native(case.program, case.bits))
        yield case.name, "equal" if alike else "different"


def model_digest(make: MakeExecutor, path: Path, count: int = TOKENS) -> str:
    """Compute the digest over `count` greedy and `count` sampled tokens from an instruct model's file."""
    checkpoint = open_checkpoint(path)
    program = build_program(checkpoint)
    return tokens_digest(make(program, 8), program, Tokenizer.from_checkpoint(checkpoint), count)
