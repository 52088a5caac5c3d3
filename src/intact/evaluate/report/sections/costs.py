"""Accuracy over tokens, and the runs that nothing beats."""

from __future__ import annotations

from collections.abc import Sequence

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, Table
from intact.evaluate.report.formatting import or_nan, percent
from intact.evaluate.report.sections.base import Omission, ReportSection, SectionBody
from intact.stats.laws.frontier import Point, frontier

_COUNTED = ("accuracy", "acc")


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    points, places = [], {}
    for arm in arms:
        score, tokens = arm.score(*_COUNTED), arm.score("tokens")
        if score is None or tokens is None:
            continue
        operations = sum(record.cost["operations"] for record in arm.records) / len(arm.records)
        points.append(Point(arm.name, score.value, {"tokens": tokens.value, "operations": operations}))
        places[arm.name] = tokens.value, score.value, or_nan(score.low), or_nan(score.high)
    if len(points) < 2:
        return Omission("there are no two runs with accuracy and tokens")
    sorted_out = frontier(points)
    kept = [point.name for point in sorted_out.kept]
    drawn = {name: place for name, place in places.items() if place[0] > 0}  # the axis is logarithmic
    blocks: list[Block] = []
    if drawn:
        caption = "Accuracy over tokens a problem; filled marks are on the frontier: nothing is as good for less."
        on_it = [name for name in kept if name in drawn]
        blocks.append(Picture(figures.frontier(f"frontier {arms[0].label}", drawn, on_it), caption))
    rows = [
        [
            point.name,
            percent(point.accuracy),
            f"{point.cost['tokens']:,.0f}",
            f"{point.cost['operations'] / 1e9:,.1f}",
            "on it" if point.name in kept else f"beaten by {sorted_out.dominated[point.name]}",
        ]
        for point in sorted(points, key=lambda point: point.cost["tokens"])
    ]
    blocks.append(Table(["run", "accuracy", "tokens", "G multiply-adds", "frontier"], rows))
    blocks += [Paragraph(f"{name} is not drawn, as it wrote no token.") for name in places if name not in drawn]
    numbers = {
        point.name: {"accuracy": point.accuracy, **point.cost, "beaten_by": sorted_out.dominated.get(point.name)}
        for point in points
    }
    return SectionBody(blocks, numbers)


SECTION = ReportSection("Cost and accuracy", _make)
