"""Habits of reasoning and marker words in right and wrong completions, compared within problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from intact.evaluate.report.blocks import Block, table
from intact.evaluate.report.formatting import percent, signed, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Arms,
    OmittedError,
    Texts,
    check_mixed,
    is_mixed,
    of_texts,
    section_by_run,
)
from intact.stats.association import cliffs_delta
from intact.stats.intervals import Interval
from intact.tasks.score.markers import HABITS, MARKERS, count_markers, count_words

PER = 1000
"""Number of words to which frequencies refer."""


class MarkerFindings(NamedTuple):
    """A marker in the complete samples of a run.

    Attributes
    ----------
    texts : int
        Number of completions that contain the marker.
    share_right, share_wrong : float
        The shares of right and of wrong completions that contain it.
    rate_right, rate_wrong : float
        Occurrences per 1,000 words of right and of wrong completions.
    delta : Interval or None
        Cliff's delta between its frequencies in right and in wrong completions, within problems; None if fewer than 10
        problems with both kinds have a completion with the marker.
    """

    texts: int
    share_right: float
    share_wrong: float
    rate_right: float
    rate_wrong: float
    delta: Interval | None


def measure(texts: Texts) -> dict[str, MarkerFindings]:
    """Measure all markers in the complete samples of a run, by problem.

    The intervals hold simultaneously at 95% (Bonferroni): each has level 1 - 0.05 / m, where m is the number of markers
    with an interval.
    """
    whole = {name: [one for one in own if not one.sample.cut] for name, own in texts.items()}
    mixed = {name for name, own in whole.items() if is_mixed([one.sample for one in own])}
    check_mixed(len(mixed), "whole texts")
    names = np.array([name for name, own in whole.items() for _ in own])
    right = np.array([bool(one.sample.correct) for own in whole.values() for one in own])
    words = np.array([max(1, count_words(one.text)) for own in whole.values() for one in own], np.float64)
    counted = [count_markers(one.text) for own in whole.values() for one in own]
    counts = {marker: np.array([one[marker] for one in counted], np.float64) for marker in MARKERS}
    telling = [marker for marker, found in counts.items() if len(mixed & set(names[found > 0])) >= MIXED]
    if not telling:
        raise OmittedError(f"no habit or marker occurs in texts of {MIXED} problems with both right and wrong texts")
    level = 1 - 0.05 / len(telling)
    return {
        marker: MarkerFindings(
            int((found > 0).sum()),
            float((found[right] > 0).mean()),
            float((found[~right] > 0).mean()),
            float(PER * found[right].sum() / words[right].sum()),
            rate_wrong=float(PER * found[~right].sum() / words[~right].sum()),
            delta=cliffs_delta(found / words, right, names.tolist(), level) if marker in telling else None,
        )
        for marker, found in counts.items()
    }


def _show(found: Mapping[str, Mapping[str, MarkerFindings]], _: Arms) -> Iterator[Block]:
    yield from table(
        (
            {
                "run": name,
                "marker": marker,
                "kind": "habit" if marker in HABITS else "words",
                "texts with it, right / wrong": f"{percent(one.share_right)} / {percent(one.share_wrong)}",
                f"in {PER:,} words, right / wrong": f"{one.rate_right:.2f} / {one.rate_wrong:.2f}",
                "Cliff's delta": with_bounds(one.delta, signed) or "too rare",
            }
            for name, of in found.items()
            for marker, one in of.items()
        ),
        "Counted by English phrases, listed in intact/tasks/score/markers.py: they show what a text says, not what "
        "it does. Cliff's delta, of frequencies: of pairs of a right and a wrong text of one problem, the share "
        "where the right one has more of it less the share where it has less; 0 is no difference. In parentheses "
        "intervals over problems that hold together at 95%. A difference is no cause: more of a marker need not "
        "make texts right. Texts that were cut are left out.",
    )


def _sentence(of: Mapping[str, MarkerFindings]) -> str:
    more = [marker for marker, one in of.items() if one.delta and one.delta.low > 0]
    less = [marker for marker, one in of.items() if one.delta and one.delta.high < 0]
    parts = [f"right ones have more {', '.join(more)}"] if more else []
    parts += [f"wrong ones have more {', '.join(less)}"] if less else []
    if not parts:
        return "no habit and no kind of words is shown to be more frequent in right or in wrong texts of a problem."
    return f"among texts of one problem, {'; '.join(parts)}."


SECTION = section_by_run(
    "Habits and markers",
    140,
    of_texts(measure),
    _show,
    sources=(
        "arXiv 2503.01307 for the four habits, counted by phrases where the paper asks a model",
        "arXiv 2504.14047 for marker words, by lists of ours",
    ),
    sentence=_sentence,
)
