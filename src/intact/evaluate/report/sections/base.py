"""The parts from which report sections are declared: measures of each run, and ways to show them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple, TypeVar

from intact._base.errors import ParameterError
from intact.evaluate.files import traces_of
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph
from intact.evaluate.results import ItemSample, was_cut
from intact.evaluate.samples import leaves, own_samples

T = TypeVar("T")
D = TypeVar("D")
Arms = Sequence[ReportArm]
"""The runs of a section."""


class OmittedError(ParameterError):
    """Raised with the reason why a section or a run is not shown; the message completes "not shown, because ..."."""


class SectionBody(NamedTuple):
    """The contents of a section.

    Attributes
    ----------
    blocks : sequence of Block
        Tables, pictures and paragraphs.
    numbers : mapping
        The same figures unrounded, by run, for `intact report --json`: dictionaries, lists, named tuples, numbers and
        strings.
    """

    blocks: Sequence[Block]
    numbers: Mapping[str, Any] = {}


@dataclass(frozen=True)
class ReportSection:
    """A section of a report.

    Attributes
    ----------
    title : str
        The heading.
    place : int
        Sections are printed in ascending order of `place`.
    make : callable
        Takes the runs of one task and returns the contents; raises `OmittedError` if the runs lack the data.
    sources : tuple of str
        The papers that define the formulas, printed at the end of the section.
    all_tasks : bool
        If true, the report contains the section once and `make` takes the runs of all tasks.
    """

    title: str
    place: int
    make: Callable[[Arms], SectionBody]
    sources: tuple[str, ...] = ()
    all_tasks: bool = False


def section_by_run(
    title: str,
    place: int,
    measure: Callable[[ReportArm], T],
    show: Callable[[Mapping[str, T], Arms], Iterable[Block]],
    *,
    sources: tuple[str, ...] = (),
    sentence: Callable[[T], str] | None = None,
) -> ReportSection:
    """Declare a section that measures each run separately.

    Parameters
    ----------
    measure : callable
        Returns the findings of one run; raises `OmittedError` if the run lacks the data, or ParameterError if the data
        cannot be measured. Such a run is named below the others, with the reason.
    show : callable
        Takes the findings by run name, and all runs, and yields the blocks.
    sentence : callable, optional
        Summarises the findings of one run; the section begins with these sentences, each preceded by the name of its
        run.
    """

    def make(arms: Arms) -> SectionBody:
        found, lacking = by_run(arms, measure)
        require(found, lacking)
        first = [] if sentence is None else [Paragraph(f"{name}: {sentence(one)}") for name, one in found.items()]
        return SectionBody([*first, *show(found, arms), *omission_notes(lacking)], found)

    return ReportSection(title, place, make, sources)


def measure_each(of: Mapping[str, D], measure: Callable[[D], T]) -> tuple[dict[str, T], dict[str, str]]:
    """Measure several things by name; return the findings, and the reasons why the others cannot be measured."""
    found: dict[str, T] = {}
    lacking: dict[str, str] = {}
    for name, one in of.items():
        try:
            found[name] = measure(one)
        except ParameterError as reason:
            lacking[name] = str(reason)
    return found, lacking


def by_run(arms: Arms, measure: Callable[[ReportArm], T]) -> tuple[dict[str, T], dict[str, str]]:
    """Measure each run; return the findings by run name, and the reasons why other runs have none."""
    return measure_each({arm.name: arm for arm in arms}, measure)


def require(found: Collection[object], lacking: Mapping[str, str]) -> None:
    """Raise `OmittedError` with the distinct reasons if nothing was found."""
    if not found:
        runs: dict[str, list[str]] = {}
        for name, because in lacking.items():
            runs.setdefault(because, []).append(name)
        several = len(runs) > 1
        raise OmittedError("; ".join(f"{why} ({', '.join(names)})" if several else why for why, names in runs.items()))


def omission_notes(lacking: Mapping[str, str]) -> list[Paragraph]:
    """Return a sentence for each run that a section leaves out, with the reason."""
    return [Paragraph(f"{name} is not shown, because {because}.") for name, because in lacking.items()]


def once(measure: Callable[[ReportArm], T]) -> Callable[[ReportArm], T]:
    """Cache the result for each run: a decorator for measures that several sections need."""

    @wraps(measure)
    def measured(arm: ReportArm) -> T:
        if measure not in arm.measured:
            arm.measured[measure] = measure(arm)
        found: T = arm.measured[measure]
        return found

    return measured


MIXED = 10
"""Minimum number of problems with both right and wrong completions for an effect within problems to be printed."""


def is_mixed(samples: Sequence[ItemSample]) -> bool:
    """Return true if there are both right and wrong samples."""
    return len({bool(one.correct) for one in samples}) == 2


def check_mixed(count: int, of: str = "texts") -> None:
    """Raise `OmittedError` if fewer than `MIXED` problems have both right and wrong completions."""
    if count < MIXED:
        raise OmittedError(
            f"only {count} problem{' has' if count == 1 else 's have'} both right and wrong {of}, "
            f"but {MIXED} are needed"
        )


Drawn = Mapping[str, Sequence[ItemSample]]
"""The independent samples of each problem."""


def drawn_samples(arm: ReportArm) -> dict[str, list[ItemSample]]:
    """Return the independent samples of each problem, over all seeds.

    Raises
    ------
    OmittedError
        If the method does not draw a fixed number of independent samples.
    """
    if not arm.samples:
        raise OmittedError("it does not have several independent samples of each problem, in a number fixed beforehand")
    found: dict[str, list[ItemSample]] = {}
    for record in arm.records:
        found.setdefault(record.id, []).extend(
            one if arm.run.version >= 3 else one._replace(cut=was_cut(one.why, False)) for one in own_samples(record)
        )
    return found


class AnswerGrid(NamedTuple):
    """The first samples of every problem, equally many for each: answers and verdicts as problems x samples."""

    answers: list[list[str | None]]
    verdicts: list[list[bool]]
    right: list[int]
    """The number of right samples of each problem."""


def answer_grid(samples: Drawn, count: int) -> AnswerGrid:
    """Return the answers and the verdicts of the first `count` samples of each problem."""
    verdicts = [[bool(one.correct) for one in own[:count]] for own in samples.values()]
    return AnswerGrid(
        [[one.answer for one in own[:count]] for own in samples.values()], verdicts, [*map(sum, verdicts)]
    )


class SampleText(NamedTuple):
    """A sample with its full text, from the root of the tree."""

    sample: ItemSample
    text: str


Texts = Mapping[str, Sequence[SampleText]]
"""The independent samples of each problem with their full text."""


@once
def drawn_texts(arm: ReportArm) -> dict[str, list[SampleText]]:
    """Return the samples of `drawn_samples` with their full text.

    Raises
    ------
    OmittedError
        As `drawn_samples`, or if the file of trees is missing.
    FormatError
        If a tree is damaged, or lacks the text of a sample.
    """
    samples = drawn_samples(arm)
    texts: dict[str, list[str]] = {}
    with arm.trees() as trees:
        for record, trace in trees:
            of = {leaf.branch: leaf.text for leaf in leaves(trace["nodes"], trace.get("chosen"))}
            texts.setdefault(record.id, []).extend(of[one.branch] for one in own_samples(record))
    if texts.keys() != samples.keys():
        raise OmittedError(f"its texts are not available: {traces_of(arm.path).name} is missing")
    return {
        name: [SampleText(one, text) for one, text in zip(own, texts[name], strict=True)]
        for name, own in samples.items()
    }


def of_samples(measure: Callable[[Drawn], T]) -> Callable[[ReportArm], T]:
    """Turn a measure of samples by problem into a measure of a run."""
    return lambda arm: measure(drawn_samples(arm))


def of_texts(measure: Callable[[Texts], T]) -> Callable[[ReportArm], T]:
    """Turn a measure of completions by problem into a measure of a run."""
    return lambda arm: measure(drawn_texts(arm))
