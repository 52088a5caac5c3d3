"""The commands that reproduce the results, and digests."""

from __future__ import annotations

import hashlib

from intact.evaluate.report.arms import runs_of
from intact.evaluate.report.blocks import Code, table
from intact.evaluate.report.sections.base import Arms, ReportSection, SectionBody

_DIGEST = 16
"""Digits of digests in a report."""


def _make(arms: Arms) -> SectionBody:
    runs = runs_of(arms)
    commands = {path.name: str(run.manifest["command"]) + f" --out {path.name}" for path, run in runs.items()}
    rows: list[dict[str, str]] = []
    numbers = {}
    for path, run in runs.items():
        model = run.manifest["models"][0]
        numerics = " ".join(str(model[name]) for name in ("numerics", "profile") if name in model)
        result = hashlib.sha256(run.data()).hexdigest()
        weights = str(model.get("weights", model.get("identity")))
        rows.append(
            {
                "file": path.name,
                "model": str(model["name"]),
                "digest of the weights": weights[:_DIGEST],
                "numerics": numerics,
                "SHA-256 of the result": result[:_DIGEST],
            }
        )
        numbers[path.name] = {"command": commands[path.name], "weights": weights, "sha256": result}
    same = "The same weights and numerics give the same bytes, with any threads, batch, order or machines."
    return SectionBody([Code(list(commands.values())), *table(rows, same)], numbers)


SECTION = ReportSection("How to make it again", 220, _make, all_tasks=True)
