"""The share of right answers by run and problem."""

from __future__ import annotations

import numpy as np

from intact.evaluate.report import figures
from intact.evaluate.report.blocks import Paragraph, Picture
from intact.evaluate.report.sections.base import Arms, OmittedError, ReportSection, SectionBody


def _make(arms: Arms) -> SectionBody:
    """Show the share of right answers, over samples if these are independent draws, else over seeds."""
    shared = [arm for arm in arms if arm.rates.keys() == arms[0].rates.keys()]
    if len(arms[0].rates) < 2:
        raise OmittedError("there is only one problem")
    shares = []
    for arm in shared:
        of = {name: c / n for name, (n, c) in arm.samples.items()} or arm.rates
        shares.append([of[name] for name in arms[0].rates])
    caption = "How often each problem was answered rightly, by samples where there are several; darker is more often."
    picture = Picture(figures.heat(f"problems {arms[0].label}", [arm.name for arm in shared], shares), caption)
    all_of = np.array(shares)
    never, always = int((all_of.max(axis=0) == 0).sum()), int((all_of.min(axis=0) == 1).sum())
    sentence = Paragraph(f"{never} of {all_of.shape[1]} problems are never solved, {always} always.")
    numbers = {arm.name: dict(zip(arms[0].rates, own, strict=True)) for arm, own in zip(shared, shares, strict=True)}
    return SectionBody([picture, sentence], numbers)


SECTION = ReportSection("Problems", 90, _make)
