"""Checks of layers whose states go from position to position: a text has the same bits however it is cut."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case
from intact.models.aspects.step import SequenceChunk
from intact.models.program import Program
from support.examples import examples

COUNT = 150
"""Tokens of the programs' texts: token i has row i of the embedding."""


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> list[np.ndarray]:
    """The logits of all steps of a case."""
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


_references: dict[str, list[np.ndarray]] = {}
"""Logits of the reference by the names of cases, of which several tiers and threads ask."""


def check_native(case: Case, tier: str, threads: int) -> None:
    """Native logits of a tier on some threads are the reference's."""
    if case.name not in _references:
        _references[case.name] = run(ReferenceExecutor(case.program, case.bits, 16), case)
    expected = _references[case.name]
    assert all(np.abs(part).max() > 0 for part in expected)
    got = run(NativeExecutor(case.program, "int8", threads, tier, case.bits, 16), case)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def logits_of(executor: ReferenceExecutor | NativeExecutor, ends: list[int]) -> np.ndarray:
    """The logits of a text that is cut at some places."""
    count = -(-COUNT // executor.page_size)
    executor.reserve_pages(count + 1)
    pages, out = np.arange(count, 0, -1, dtype=np.int32), []
    for start, end in zip([0, *ends], [*ends, COUNT], strict=True):
        chunk = SequenceChunk(start, np.arange(start, end, dtype=np.int32), pages)
        out.append(executor.step_float([chunk], np.arange(end - start)).copy())
    return np.concatenate(out)


CUTS = [
    pytest.param([1, 2, 3, 15, 16, 17, 32, 47, 63, 64, 65, 66, 127, 128, 129, COUNT - 1], id="some"),
    pytest.param(list(range(1, COUNT)), id="all", marks=pytest.mark.slow),
]
"""Where the reference cuts a text: about the ends of pages and blocks, and behind each token."""


def check_reference_cuts(program: Program, cuts: list[int]) -> None:
    """The reference gives one text the same bits however it is cut."""
    expected = logits_of(ReferenceExecutor(program), [])
    for page, ends in ((16, cuts), (80, [63, 64, 65, 128])):
        assert np.array_equal(logits_of(ReferenceExecutor(program, 8, page), ends), expected), page


def check_native_cuts(program: Program, profile: str) -> None:
    """Native gives one text the same bits however it is cut, whatever pages, threads and tiers."""
    expected = logits_of(NativeExecutor(program, profile, 1), [])
    if profile == "int8":
        assert np.array_equal(expected, logits_of(ReferenceExecutor(program), []))

    @given(
        st.lists(st.integers(1, COUNT - 1), max_size=12, unique=True),
        st.sampled_from([16, 32, 48, 64, 80, 128, 208]),
        st.integers(1, 3),
        st.sampled_from(available_tiers()),
    )
    @examples(25)
    def cut(ends: list[int], page: int, threads: int, tier: str) -> None:
        executor = NativeExecutor(program, profile, threads, tier, page_size=page)
        assert np.array_equal(logits_of(executor, sorted(ends)), expected)

    cut()


def check_walks(program: Program, profile: str) -> None:
    """Texts go back to any place, go on otherwise, copy pages and come back: each row is that of its own text."""

    @given(
        st.lists(st.tuples(st.integers(0, 139), st.integers(1, 80), st.booleans(), st.integers(0, 2)), max_size=20),
        st.sampled_from([16, 32, 48, 64, 128]),
    )
    @example([(0, 100, False, 0), (80, 10, False, 0)], 64)  # the page has the state behind row 99 when row 80 is next
    @examples(25)
    def walk(moves: list[tuple[int, int, bool, int]], page: int) -> None:
        executor, plain = NativeExecutor(program, profile, 2, page_size=page), NativeExecutor(program, profile, 1)
        count = -(-COUNT // page)
        executor.reserve_pages(3 * count)
        plain.reserve_pages(-(-COUNT // plain.page_size))
        texts: list[list[int]] = [[], [], []]
        for back, length, copies, which in moves:
            pages = np.arange(which * count, (which + 1) * count, dtype=np.int32)
            if copies:  # a fork of another text: its pages are copied
                other = (which + 1) % 3
                for i in range(count):
                    executor.copy_page(other * count + i, which * count + i)
                texts[which] = list(texts[other])
            start = min(back, len(texts[which]))
            added = [(start * 7 + length * 3 + 5 * i + which) % COUNT for i in range(min(length, COUNT - start))]
            texts[which] = texts[which][:start] + added
            chunk = SequenceChunk(start, np.array(added, np.int32), pages)
            found = executor.step_float([chunk], np.arange(len(added))).copy()
            whole = SequenceChunk(
                0, np.array(texts[which], np.int32), np.arange(-(-COUNT // plain.page_size), dtype=np.int32)
            )
            assert np.array_equal(found, plain.step_float([whole], np.arange(start, len(texts[which]))))

    walk()
