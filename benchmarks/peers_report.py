"""The results of peers.py as tables and as a plot."""

from __future__ import annotations

import statistics
from itertools import zip_longest
from pathlib import Path
from typing import Any

from common import machine

COLOURS = {"intact": "#1f6f8b", "llama": "#c9a35b", "openvino": "#7a9e4f", "transformers": "#a65e5e"}
Result = dict[str, Any]


def summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return rates of a row by side: overall and, if known, of decoding; and paired ratios of intact to llama.cpp."""
    rates = {side: [run["tokens"] / run["seconds"] for run in found] for side, found in runs.items()}
    out: dict[str, Any] = {side: _spread(values) for side, values in rates.items()}
    for side, found in runs.items():
        if all("first" in run for run in found):
            # the first token of each sample is computed with the prompt
            decode = [_decode_rate(run) for run in found if run["tokens"] > 1]
            out[side]["decode"] = _spread(decode)
    if "llama" in rates:
        pairs = [a / b for a, b in zip(rates["intact"], rates["llama"], strict=False)]
        out["ratio"] = out["intact"]["median"] / out["llama"]["median"]
        out["ratio_range"] = [min(pairs), max(pairs)]
    return out


def _decode_rate(run: dict[str, float]) -> float:
    return run["tokens"] / max(run["seconds"] - run["first"], 1e-9)


def _spread(rates: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "all": rates}


def _shown(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    digits = 0 if found["median"] >= 1000 else 1
    return " ".join([f"{found['median']:,.{digits}f}", f"({found['min']:,.{digits}f} to {found['max']:,.{digits}f})"])


def report(results: list[Result], names: dict[str, str], kinds: dict[str, str]) -> None:
    """Print everything as Markdown."""
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, Python {about['python']}")
    for side, name in names.items():
        known = next((r["sides"][side] for r in results if side in r["sides"]), None)
        if known:
            flags = f": {known['flags']}" if "flags" in known else ""
            print(f"{name} {known['version']}, {known['threads']} threads{flags}")
    for kind, title in kinds.items():
        found = [r for r in results if r["files"] == kind]
        if found:
            _rates(found, names, title)
            _decoding(found, names)
    _files(results, kinds)
    _settings(results, names, kinds)


def _table(header: list[str], lines: list[list[str]]) -> None:
    print()
    for cells in (header, *lines):
        print(f"| {' | '.join(cells)} |")
        if cells is header:
            print(f"|{'---|' * len(header)}")


def _rates(results: list[Result], names: dict[str, str], title: str) -> None:
    sides = [side for side in names if any(side in r["sides"] for r in results)]
    header = ["model", f"{title}, tokens a second", *(names[side] for side in sides)]
    both = "llama" in sides
    lines = []
    for r in results:
        for row in r["rows"]:
            line = [r["model"], row["title"], *(_shown(row.get(side)) for side in sides)]
            if both:
                low, high = row.get("ratio_range", (0, 0))
                line.append(f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})" if "ratio" in row else "")
                line.append("{} ({})".format(*row["asked"]) if row["asked"] else "")
            lines.append(line)
    _table([*header, *(["intact / llama.cpp (least to most)", "asked for (aim)"] if both else [])], lines)


def _decoding(results: list[Result], names: dict[str, str]) -> None:
    """Print the table of samples without the prompt's time."""
    sides = [side for side in names if any("decode" in row.get(side, {}) for r in results for row in r["rows"])]
    lines = [
        [r["model"], row["title"], *(_shown(row.get(side, {}).get("decode")) for side in sides)]
        for r in results
        for row in r["rows"]
        if row["n"] > 1
    ]
    if lines and sides:
        _table(["model", "without the prompt's time", *(names[side] for side in sides)], lines)


def _files(results: list[Result], kinds: dict[str, str]) -> None:
    lines = []
    for r in results:
        about = r["sides"]["intact"]
        line = [r["model"], kinds[r["files"]], f"{about['file_bytes_a_token']:,}", f"{about['bytes_a_token']:,}"]
        stream = next((row for row in r["rows"] if row["name"] == "stream"), {})
        for side, size in (("intact", "bytes_a_token"), ("llama", "file_bytes_a_token")):
            line.append(f"{stream[side]['median'] * about[size] / 1e9:.1f}" if side in stream else "")
        lines.append(line)
    header = ["model", "file", "bytes a token", "intact's form, bytes a token", "stream, GB/s: intact", "llama.cpp"]
    _table(header, lines)


def _settings(results: list[Result], names: dict[str, str], kinds: dict[str, str]) -> None:
    print()
    for side in names:
        known = [(r, r["sides"][side]["settings"]) for r in results if side in r["sides"]]
        for words in dict.fromkeys(settings["all"] for _, settings in known if "all" in settings):
            print(f"- {names[side]}: {words}")
        for r, settings in known:
            rows = [f"{row['title']}: {settings[row['name']]['words']}" for row in r["rows"] if row["name"] in settings]
            if rows:
                print(f"- {names[side]}, {r['model']}, {kinds[r['files']]}. {'; '.join(rows)}.")


def plot(results: list[Result], names: dict[str, str], kinds: dict[str, str], path: Path) -> None:
    """Save bars of all rows as multiples of llama.cpp, with a panel per file; the numbers are tokens per second."""
    from matplotlib.figure import Figure

    height = 0.9 + 0.7 * max(len(r["rows"]) for r in results)
    columns = min(2, len(results))
    lines = -(-len(results) // columns)
    figure = Figure(figsize=(6.5 * columns, height * lines), layout="constrained")
    for axis, r in zip_longest(figure.subplots(lines, columns, squeeze=False).flat, results):
        if r is None:
            axis.set_axis_off()
            continue
        sides = [side for side in names if side in r["sides"]]
        base = "llama" if "llama" in sides else "intact"
        for index, side in enumerate(sides):
            found = [(i, row[side], row[base]["median"]) for i, row in enumerate(r["rows"]) if side in row]
            places = [i + (index - (len(sides) - 1) / 2) * 0.8 / len(sides) for i, _, _ in found]
            multiples = [rates["median"] / unit for _, rates, unit in found]
            spread = [
                [(rates["median"] - rates["min"]) / unit for _, rates, unit in found],
                [(rates["max"] - rates["median"]) / unit for _, rates, unit in found],
            ]
            thick = 0.75 / len(sides)
            bars = axis.barh(places, multiples, thick, xerr=spread, color=COLOURS[side], label=names[side])
            axis.bar_label(bars, [f"{rates['median']:,.0f}" for _, rates, _ in found], padding=4, fontsize=7)
        axis.set_yticks(range(len(r["rows"])), [row["title"] for row in r["rows"]], fontsize=7)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_xlabel(f"times {names[base]}")
        axis.set_title(f"{r['model']}, {kinds[r['files']]}: tokens a second", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150)
