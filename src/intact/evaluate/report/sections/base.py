"""The parts of a section of a report: its title, a function from runs to blocks, the sources of its formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from intact._base.errors import FormatError, ParameterError
from intact.evaluate.files import traces_of
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph
from intact.evaluate.results import ItemSample, was_cut
from intact.evaluate.samples import leaves, own_samples

T = TypeVar("T")
D = TypeVar("D")


class Omission(NamedTuple):
    """The reason not to show a section, or a run within it: words that go on after "not shown, because"."""

    because: str


class SectionBody(NamedTuple):
    """The contents of a section.

    Attributes
    ----------
    blocks : sequence of Block
        Tables, pictures, paragraphs.
    numbers : mapping
        The same unrounded for `intact report --json`, by run: dictionaries, lists, named tuples, numbers, texts.
    """

    blocks: Sequence[Block]
    numbers: Mapping[str, Any] = {}


@dataclass(frozen=True)
class ReportSection:
    """A section.

    Attributes
    ----------
    title : str
    make : callable
        Takes the runs of one task and returns what to show, or the reason to show nothing.
    sources : tuple of str
        The papers of its formulas, printed below it.
    all_tasks : bool
        If true, it stands once in the report and `make` takes the runs of all tasks.
    """

    title: str
    make: Callable[[Sequence[ReportArm]], SectionBody | Omission]
    sources: tuple[str, ...] = ()
    all_tasks: bool = False


def by_run(
    arms: Sequence[ReportArm], measure: Callable[[ReportArm], T | Omission]
) -> tuple[dict[str, T], dict[str, str]]:
    """Measure each run, and return what was found by the run's name, and why others have nothing."""
    found: dict[str, T] = {}
    lacking: dict[str, str] = {}
    for arm in arms:
        value = measure(arm)
        if isinstance(value, Omission):
            lacking[arm.name] = value.because
        else:
            found[arm.name] = value
    return found, lacking


def measured(drawn: D | Omission, measure: Callable[[D], T | Omission]) -> T | Omission:
    """Return a measure of what was drawn of a run, or the reason why there is none.

    Parameters
    ----------
    measure : callable
        A ParameterError of it is a reason too: one answer was graded both right and wrong, for example.
    """
    if isinstance(drawn, Omission):
        return drawn
    try:
        return measure(drawn)
    except ParameterError as error:
        return Omission(str(error))


def join_reasons(lacking: Mapping[str, str]) -> Omission:
    """Join the reasons of several runs, each reason once."""
    runs: dict[str, list[str]] = {}
    for name, because in lacking.items():
        runs.setdefault(because, []).append(name)
    if len(runs) == 1:
        return Omission(next(iter(runs)))
    return Omission("; ".join(f"{because} ({', '.join(names)})" for because, names in runs.items()))


def omission_notes(lacking: Mapping[str, str]) -> list[Paragraph]:
    """Say of each run that a section leaves out why it does."""
    return [Paragraph(f"{name} is not shown, because {because}.") for name, because in lacking.items()]


MIXED = 10
"""The fewest problems with both right and wrong texts from which an effect within problems is printed."""


def too_few_mixed(count: int, of: str = "texts") -> Omission:
    """Return the reason where too few problems tell of effects within problems."""
    return Omission(
        f"only {count} problem{' has' if count == 1 else 's have'} both right and wrong {of}, and {MIXED} are needed"
    )


def drawn_samples(arm: ReportArm) -> dict[str, list[ItemSample]] | Omission:
    """Return the independent samples of each problem, over all seeds, or the reason why there are none."""
    if not arm.samples:
        return Omission("it has not several independent samples of each problem, their number settled beforehand")
    found: dict[str, list[ItemSample]] = {}
    for record in arm.records:
        found.setdefault(record.id, []).extend(
            one if arm.run.version >= 3 else one._replace(cut=was_cut(one.why, False)) for one in own_samples(record)
        )
    return found


class SampleText(NamedTuple):
    """A sample with its text, from the root of the tree on."""

    sample: ItemSample
    text: str


def once(arm: ReportArm, measure: Callable[[ReportArm], T]) -> T:
    """Measure a run, or return what was measured before: for what several sections need."""
    if measure not in arm.measured:
        arm.measured[measure] = measure(arm)
    found: T = arm.measured[measure]
    return found


def drawn_texts(arm: ReportArm) -> dict[str, list[SampleText]] | Omission:
    """Return the samples of `drawn_samples` with their texts, or the reason why there are none.

    Raises
    ------
    FormatError
        If a tree is damaged, or lacks the text of a sample.
    """
    samples = drawn_samples(arm)
    if isinstance(samples, Omission):
        return samples
    texts: dict[str, list[str]] = {}
    try:
        for record, trace in arm.trees():
            of = {leaf.branch: leaf.text for leaf in leaves(trace["nodes"], trace.get("chosen"))}
            texts.setdefault(record.id, []).extend(of[one.branch] for one in own_samples(record))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"{traces_of(arm.path)} is damaged: {error!r:.200}") from error
    if texts.keys() != samples.keys():
        return Omission(f"its texts are not at hand: {traces_of(arm.path).name} is missing")
    return {
        name: [SampleText(one, text) for one, text in zip(own, texts[name], strict=True)]
        for name, own in samples.items()
    }
