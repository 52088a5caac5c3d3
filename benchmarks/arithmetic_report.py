"""The results of arithmetic.py as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from common import bootstrap

from intact.stats.paired import mcnemar

Cells = dict[str, dict[tuple[str, str, str], dict[Any, Any]]]
"""Lines by window, question or prompt, for each (model, file, program); for determinism, (model, program, setting)."""
REFERENCE = "fp32"


class Report(NamedTuple):
    """The same results as Markdown and as numbers."""

    markdown: str
    numbers: dict[str, Any]


def report(
    cells: Cells, programs: Mapping[str, str], weights: Mapping[str, str], settings: Mapping[str, str]
) -> Report:
    """Return tables of all non-empty cells; titles are given by name."""
    rows = fidelity_rows(cells)
    counts = determinism_rows(cells["determinism"])
    parts = []
    if rows:
        parts.append(_fidelity_table(rows, programs, weights))
    if counts:
        parts.append(_determinism_table(counts, programs, settings))
    return Report("\n\n".join(parts) + "\n", {"fidelity": rows, "determinism": counts})


def _spread(values: Sequence[float]) -> list[float]:
    """Return the mean and its 95% interval."""
    x = np.array(values)
    return [float(x.mean()), *(bootstrap(x) if len(x) > 1 else (math.nan, math.nan))]


def fidelity_rows(cells: Cells) -> list[dict[str, Any]]:
    """Return a row for each model, file and program: numbers with intervals."""
    rows = []
    for key in dict.fromkeys([*cells["fidelity"], *cells["task"]]):
        model, kind, name = key
        row: dict[str, Any] = {"model": model, "weights": kind, "program": name}
        row |= window_numbers(cells["fidelity"].get(key, {}), cells["fidelity"].get((model, kind, REFERENCE), {}))
        row |= task_numbers(cells["task"].get(key, {}), cells["task"].get((model, kind, REFERENCE), {}))
        if len(row) > 3:
            rows.append(row)
    return rows


def window_numbers(own: dict[int, Any], reference: dict[int, Any]) -> dict[str, Any]:
    """Return KL, perplexity, its ratio and top-1 agreement on common windows: on the same file and as shipped."""
    windows = sorted(set(own) & set(reference))
    if not windows:
        return {}
    mine, theirs = [own[i] for i in windows], [reference[i] for i in windows]
    excess = [a["same"]["nll"] - b["same"]["nll"] for a, b in zip(mine, theirs, strict=True)]
    return {
        "windows": len(windows),
        "kl": _spread([line["same"]["kl"] for line in mine]),
        "perplexity": math.exp(np.mean([line["same"]["nll"] for line in mine])),
        "ratio": [math.exp(value) for value in _spread(excess)],
        "top1": _spread([line["same"]["top1"] for line in mine]),
        "kl_shipped": _spread([line["shipped"]["kl"] for line in mine]),
        "top1_shipped": _spread([line["shipped"]["top1"] for line in mine]),
    }


def task_numbers(own: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Count right answers on common questions, their difference from the reference, and differing choices."""
    names = [name for name in own if name in reference]
    if not names:
        return {}
    chosen = [int(np.argmax(own[name]["nats"])) for name in names]
    other = [int(np.argmax(reference[name]["nats"])) for name in names]
    right = [int(choice == own[name]["right"]) for choice, name in zip(chosen, names, strict=True)]
    right_other = [int(choice == own[name]["right"]) for choice, name in zip(other, names, strict=True)]
    test = mcnemar(right, right_other)
    return {
        "questions": len(names),
        "right": sum(right),
        "difference": [test.difference, test.low, test.high],
        "other_choices": sum(a != b for a, b in zip(chosen, other, strict=True)),
    }


def determinism_rows(cells: dict[tuple[str, str, str], dict[int, list[int]]]) -> list[dict[str, Any]]:
    """Return a row for each model and program: the number of prompts whose answer changed under each setting."""
    rows = []
    for model, name in dict.fromkeys((model, name) for model, name, _ in cells):
        alone = cells.get((model, name, "alone"), {})
        row: dict[str, Any] = {"model": model, "program": name, "prompts": len(alone), "changed": {}}
        row["tokens"] = sum(map(len, alone.values()))
        for (_, _, setting), outputs in ((key, cells[key]) for key in cells if key[:2] == (model, name)):
            both = set(alone) & set(outputs)
            if both and setting != "alone":
                row["changed"][setting] = [sum(outputs[i] != alone[i] for i in both), len(both)]
        if row["changed"]:
            rows.append(row)
    return rows


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Render as Markdown, without empty columns."""
    kept = [i for i in range(len(header)) if any(line[i] for line in lines)]
    shown = [[line[i] for i in kept] for line in (header, ["---"] * len(header), *lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in shown)


def _between(found: Sequence[float], form: str) -> str:
    value, low, high = (format(x, form) for x in found)
    return value if math.isnan(found[1]) else f"{value} ({low} to {high})"


def _fidelity_table(rows: list[dict[str, Any]], programs: Mapping[str, str], weights: Mapping[str, str]) -> str:
    header = ["weights", "arithmetic", "windows", "KL, nats a token (95%)", "perplexity", "over fp32's (95%)"]
    header += ["same top-1", "KL to fp32 on the file as shipped (95%)"]
    header += ["questions right", "less fp32's (95%)", "other choices"]
    tables = []
    for model in dict.fromkeys(row["model"] for row in rows):
        lines = []
        for row in (row for row in rows if row["model"] == model):
            line = [weights[row["weights"]], programs[row["program"]]]
            lines.append([*line, *_window_cells(row), *_task_cells(row)])
        tables.append(f"{model}:\n\n{_table(header, lines)}")
    return "\n\n".join(tables)


def _window_cells(row: dict[str, Any]) -> list[str]:
    if "windows" not in row:
        return [""] * 6
    exact = row["program"] == REFERENCE
    return [
        str(row["windows"]),
        "0" if exact else _between(row["kl"], ".5f"),
        f"{row['perplexity']:.3f}",
        "1" if exact else _between(row["ratio"], ".4f"),
        "1" if exact else f"{row['top1'][0]:.4f}",
        "" if row["weights"] == "shipped" else _between(row["kl_shipped"], ".5f"),
    ]


def _task_cells(row: dict[str, Any]) -> list[str]:
    if "questions" not in row:
        return [""] * 3
    right = f"{row['right']} of {row['questions']}"
    if row["program"] == REFERENCE:
        return [right, "", ""]
    return [right, _between(row["difference"], "+.1%"), str(row["other_choices"])]


def _determinism_table(rows: list[dict[str, Any]], programs: Mapping[str, str], settings: Mapping[str, str]) -> str:
    keys = [key for key in settings if any(key in row["changed"] for row in rows)]
    lines = [
        [row["model"], programs[row["program"]], f"{row['tokens']:,}"]
        + ["{} of {}".format(*row["changed"][key]) if key in row["changed"] else "" for key in keys]
        for row in rows
    ]
    return _table(["model", "program", "tokens", *(settings[key] for key in keys)], lines)
