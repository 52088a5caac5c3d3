"""The share of right answers of each run to each problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture
from intact.evaluate.report.sections.base import ReportSection, body_or_reason


def _problems(arms: Sequence[ReportArm]) -> Iterator[Block]:
    """Yield how often each run solves each problem: over samples if they are draws, else over seeds."""
    shared = [arm for arm in arms if arm.rates.keys() == arms[0].rates.keys()]
    if len(arms[0].rates) < 2:
        return
    shares = []
    for arm in shared:
        of = {name: c / n for name, (n, c) in arm.samples.items()} or arm.rates
        shares.append([of[name] for name in arms[0].rates])
    caption = "How often each problem was answered rightly, by samples where there are several; darker is more often."
    yield Picture(figures.heat(f"problems {arms[0].label}", [arm.name for arm in shared], shares), caption)
    all_of = np.array(shares)
    never, always = int((all_of.max(axis=0) == 0).sum()), int((all_of.min(axis=0) == 1).sum())
    yield Paragraph(f"{never} of {all_of.shape[1]} problems are never solved, {always} always.")


SECTION = ReportSection("Problems", lambda arms: body_or_reason(_problems(arms), "there is one problem only"))
