"""Accuracy against tokens, and the runs that no other run dominates."""

from __future__ import annotations

from intact.evaluate.report import figures
from intact.evaluate.report.blocks import Block, Paragraph, Picture, table
from intact.evaluate.report.formatting import or_nan, percent, whole
from intact.evaluate.report.sections.base import Arms, OmittedError, ReportSection, SectionBody
from intact.stats.laws.frontier import Point, frontier


def _make(arms: Arms) -> SectionBody:
    points, places = [], {}
    for arm in arms:
        score, tokens = arm.score("accuracy", "acc"), arm.score("tokens")
        if score is not None and tokens is not None:
            operations = sum(record.cost["operations"] for record in arm.records) / len(arm.records)
            points.append(Point(arm.name, score.value, {"tokens": tokens.value, "operations": operations}))
            places[arm.name] = tokens.value, score.value, or_nan(score.low), or_nan(score.high)
    if len(points) < 2:
        raise OmittedError("fewer than two runs have accuracy and tokens")
    kept, dominated = frontier(points)
    best = [point.name for point in kept]
    drawn = {name: place for name, place in places.items() if place[0] > 0}  # the axis is logarithmic
    blocks: list[Block] = []
    if drawn:
        caption = "Accuracy over tokens a problem; filled marks are on the frontier: nothing is as good for less."
        svg = figures.frontier(f"frontier {arms[0].label}", drawn, [name for name in best if name in drawn])
        blocks.append(Picture(svg, caption))
    blocks += table(
        {
            "run": point.name,
            "accuracy": percent(point.accuracy),
            "tokens": whole(point.cost["tokens"]),
            "G multiply-adds": f"{point.cost['operations'] / 1e9:,.1f}",
            "frontier": "on it" if point.name in best else f"beaten by {dominated[point.name]}",
        }
        for point in sorted(points, key=lambda point: point.cost["tokens"])
    )
    blocks += [Paragraph(f"{name} is not drawn, as it wrote no token.") for name in places if name not in drawn]
    numbers = {
        point.name: {"accuracy": point.accuracy, **point.cost, "beaten_by": dominated.get(point.name)}
        for point in points
    }
    return SectionBody(blocks, numbers)


SECTION = ReportSection("Cost and accuracy", 50, _make)
