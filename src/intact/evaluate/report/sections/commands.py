"""The commands that make the results again, and their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from intact.evaluate.report.arms import ReportArm, runs_of
from intact.evaluate.report.blocks import Block, Code, Paragraph, Table
from intact.evaluate.report.sections.base import ReportSection, SectionBody

_DIGEST = 16
"""Digits of digests in a report."""


def _again(arms: Sequence[ReportArm]) -> Iterator[Block]:
    runs = runs_of(arms)
    yield Code([str(run.manifest["command"]) + f" --out {path.name}" for path, run in runs.items()])
    rows = []
    for path, run in runs.items():
        model = run.manifest["models"][0]
        numerics = " ".join(str(model[name]) for name in ("numerics", "profile") if name in model)
        result = hashlib.sha256(run.data()).hexdigest()[:_DIGEST]
        weights = str(model.get("weights", model.get("identity")))[:_DIGEST]
        rows.append([path.name, str(model["name"]), weights, numerics, result])
    yield Table(["file", "model", "digest of the weights", "numerics", "SHA-256 of the result"], rows)
    yield Paragraph("The same weights and numerics give the same bytes, with any threads, batch, order or machines.")


SECTION = ReportSection("How to make it again", lambda arms: SectionBody(list(_again(arms))), all_tasks=True)
