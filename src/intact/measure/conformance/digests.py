"""Digests of an executor's results: equal digests mean equal bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.engine.engine import Engine
from intact.engine.model import prompt_id
from intact.engine.request import Event, GenerateRequest
from intact.executors.base import Executor
from intact.measure.conformance.kernels import Kernels, layout_results, results
from intact.measure.conformance.synthetic import PAGE, Case, cases, outlier_cases, random_bytes, with_largest_inputs
from intact.models.ops import Attend
from intact.models.program import Program
from intact.numerics.profiles import parse_profile
from intact.numerics.sampling import Draw, Sampling, branch_key, make_sampling
from intact.text import Tokenizer

MakeExecutor: TypeAlias = Callable[[Program, int], Executor]
"""Makes an executor from a program and the bits of float matrices; its pages must contain 16 positions."""

PROMPT = ({"role": "user", "content": "Why is the sky blue?"},)
SAMPLED, SEED = make_sampling(0.8, top_p=0.95), 7

PROFILED = (
    "int8_row", "int4", "mxint8", "mxfp4", "mxfp6", "mxfp8", "int8+wina50", "int8+teal50", "int8+random50",
    "mxfp4+wina25", "mxfp8e5m2", "int8_static", "int8_static+wina50", "int8+kv-int8", "int8+kv-int84", "int8+kv-int4",
    "llm_int8",
)  # fmt: skip
"""Integer profiles in the profiles digest, in its order; all other digests use `int8`."""
PROFILED_CASES = (
    "matrix Q4_1 8", "matrix Q6_K 8", "matrix Q2_K 8", "matrix IQ4_NL 8", "matrix F32 8", "matrix F32 4",
    "extreme Q8_0", "extreme Q2_K", "gather normed", "gather x", "decoder llama", "decoder gemma",
)  # fmt: skip
"""Programs in the profiles digest: products of all kinds of codes and minima, wide and narrow rows, whole layers.

Profiles with a KV cache codec use programs with attention instead, if the codec supports their heads.
"""

_SAMPLINGS = (
    make_sampling(0.0),
    make_sampling(1.0),
    make_sampling(0.8, top_p=0.95),
    make_sampling(0.6, top_k=20, top_p=0.9),
    make_sampling(1.5, min_p=0.05),
    make_sampling(0.000001, top_k=3),
    make_sampling(1000.0, top_k=7, top_p=0.5, min_p=0.2),
)


def _digest_of(arrays: Iterable[ArrayLike]) -> str:
    """Hash whole numbers, each as a little-endian int64."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.asarray(array).astype("<i8").tobytes())
    return sha.hexdigest()


def _logits(case: Case, make: MakeExecutor) -> str:
    return logits_digest(case, make(case.program, case.bits))


def logits_digest(case: Case, executor: Executor) -> str:
    """Return the digest of a program's logits, given its executor."""
    if executor.page_size != PAGE:
        raise ValueError(f"the synthetic programs need pages of {PAGE}, got {executor.page_size}")
    executor.reserve_pages(case.pages)
    return _digest_of(executor.step(step.chunks, step.wanted) for step in case.steps)


def _synthetic_logits() -> NDArray[np.int32]:
    """Return rows of logits from flat to steep, with ties, and with the largest possible gap."""
    raw = random_bytes("logits", 12 * 501 * 2).view("<u2").astype(np.int64).reshape(12, 501) - 32768
    rows = raw << np.arange(-4, 8).clip(0)[:, None] >> np.arange(4, -8, -1).clip(0)[:, None]
    rows[10, 100:] = rows[10, 7]
    rows[11, ::2], rows[11, 1::2] = (1 << 31) - 1, 1 - (1 << 31)
    return np.asarray(rows, np.int32)


def _draws(executor: Executor) -> Iterator[ArrayLike]:
    """Sample with several settings at several positions; yield tokens and log-probabilities."""
    logits = _synthetic_logits()
    for i, sampling in enumerate(_SAMPLINGS):
        keys = [branch_key(i, ("draw", row)) for row in range(len(logits))]
        for position in (0, 1, 77, 1 << 33):
            yield from executor.draw(logits, [Draw(row, sampling, key, position) for row, key in enumerate(keys)])


def operation_digests(kernels: Kernels, make: MakeExecutor) -> dict[str, str]:
    """Compute a digest for each single operation, for each synthetic program, and for sampling."""
    digests, last = {name: _digest_of(arrays) for name, arrays in results(kernels)}, None
    for case in cases():
        digests[f"program: {case.name}"] = _logits(case, make)
        last = case.program
    if last is not None:
        digests["draws"] = _digest_of(_draws(make(last, 8)))
    return digests


def combined(digests: Mapping[str, str]) -> str:
    """Combine digests into one: SHA-256 of lines with a name, a space, a digest and a line feed."""
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()


def operations_digest(kernels: Kernels, make: MakeExecutor) -> str:
    """Compute the digest over all operations."""
    return combined(operation_digests(kernels, make))


def profile_digests(make_for: Callable[[str], MakeExecutor]) -> dict[str, str]:
    """Compute a digest of the logits of each program in `PROFILED_CASES` in each profile of `PROFILED`.

    Parameters
    ----------
    make_for : callable
        Returns the function that makes executors for a profile.
    """
    makers = {profile: make_for(profile) for profile in PROFILED}
    found = list(cases())
    chosen = {profile: profiled_cases(profile, found) for profile in PROFILED}
    return {f"{p}: {case.name}": _logits(case, make) for p, make in makers.items() for case in chosen[p]}


def profiled_cases(profile: str, found: Sequence[Case]) -> list[Case]:
    """Return the programs to run in a profile.

    If the profile's scales are static, the products get such scales. With a KV cache codec, the programs are those with
    attention, except for encoders, which were added later (see `tests/test_contract_encoders.py`). Outliers in 16 bits
    have their own programs.
    """
    parts = parse_profile(profile)
    if parts.scheme.outliers:
        return list(outlier_cases())
    if (codec := parts.codec) is not None:
        attending = (case for case in found if any(isinstance(op, Attend) and op.causal for op in case.program.ops))
        return [case for case in attending if codec.holds(case.program.head_width)]
    chosen = [case for case in found if case.name in PROFILED_CASES]
    if not parts.scheme.static:
        return chosen
    return [case._replace(program=with_largest_inputs(case.program)) for case in chosen]


def layout_digests(kernels: Kernels) -> dict[str, str]:
    """Compute a digest of the products for each layout of integer weights."""
    return {name: _digest_of(arrays) for name, arrays in layout_results(kernels)}


def tokens_digest(executor: Executor, program: Program, tokenizer: Tokenizer, count: int) -> str:
    """Compute the digest over an answer to `PROMPT`: `count` greedy tokens, then `count` sampled ones.

    Each token contributes two little-endian int64: its id and its log-probability (nats, times 2^24). End tokens do not
    end the answer here. Sampling is as in ``generate(..., temperature=0.8, top_p=0.95, seed=7)``.
    """
    tokens = tokenizer.encode_chat(PROMPT)
    key = branch_key(SEED, (prompt_id(tokens), 0))
    drawn: list[tuple[int, int]] = []
    engine = Engine(executor, program.context)  # computes the prompt once for both
    for sampling in (Sampling(), SAMPLED):

        def sink(event: Event) -> None:
            drawn.append((event.token, event.logprob))

        prompt = np.array(tokens, np.int32)
        engine.add(
            GenerateRequest(prompt=prompt, keys=[key], sampling=sampling, limit=count, sink=sink, ended=lambda *_: None)
        )
        while engine.step():
            pass
    return _digest_of(drawn)
