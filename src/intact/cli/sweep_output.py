"""The result of ``intact sweep`` as tables, sentences, JSON and a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from intact._base.markup.render import visible
from intact.cli.output import new_table, note, out, show
from intact.cli.pictures import save_picture

if TYPE_CHECKING:
    from intact.evaluate.sweep.fronts import SweepSeconds


def print_sweep(result: Mapping[str, Any], folder: Path, seconds: Mapping[int, SweepSeconds]) -> None:
    """Print a sweep's result: one line per rung, the finalists compared with the baseline, and the verdict."""
    design, judgement, spent = result["design"], result["judgement"], result["spent"]
    labels = [trial["label"] for trial in design["trials"]]
    for rung in result["rungs"]:
        line = f"{rung['problems']} problems: {len(rung['settings']) - 1} settings, {len(rung['kept'])} go on"
        for words in ("unaffordable", "failed"):
            line += f", {len(rung[words])} {words}" if rung[words] else ""
        show(line)
    if result["untried"]:
        show(f"{len(result['untried'])} settings were not tried, because the tokens ran out", style="magenta")
    fronts = _fronts(judgement, seconds)
    out().print(_accuracies(judgement))
    show(f"on {judgement['problems']} problems held out; intervals of differences hold for all of them together")
    out().print(_costs(judgement, seconds, fronts))
    show("per problem; * is on the Pareto front of accuracy against this cost")
    if any(one.measured < 1 for one in seconds.values()):
        show("~ some texts came from the journal, and are assumed to be as fast as the others")
    for unit, own in fronts.items():
        show(f"Pareto front by {unit}, from the cheapest: " + "; ".join(labels[trial] for trial in own))
    for sentence in _verdict(result, labels):
        show(sentence)
    for caveat in result["caveats"]:
        show(caveat, style="yellow")
    note(f"{spent['total']:,} tokens of {spent['budget']:,}; {folder} holds design, result and journal")


def _accuracies(judgement: Mapping[str, Any]) -> Table:
    """Return the table of accuracies and of differences from the baseline."""
    table = new_table("setting", "right", "95%", "difference")
    for row in judgement["settings"]:
        against = row.get("against_baseline")
        words = "the baseline"
        if against:
            words = f"{against['difference']:+z.1%} ({against['low']:+z.1%} to {against['high']:+z.1%})"
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        table.add_row(Text(row["label"]), f"{row['accuracy']:.1%}", interval, words)
    return table


def _costs(judgement: Mapping[str, Any], seconds: Mapping[int, SweepSeconds], fronts: Mapping[str, list[int]]) -> Table:
    """Return the table of costs per problem, marking those on a front."""
    table = new_table("setting", "tokens", "of the baseline's", "operations", "seconds")
    for row in judgement["settings"]:
        timed = seconds.get(row["trial"])
        each = {
            "tokens": f"{row['tokens_each']:,.0f}",
            "operations": f"{row['operations'] / row['problems']:.2e}" if row["operations"] else "-",
            "seconds": f"{'' if timed.measured == 1 else '~'}{timed.seconds:.2f}" if timed else "-",
        }
        marked = {unit: text + (" *" if row["trial"] in fronts.get(unit, ()) else "") for unit, text in each.items()}
        share = f"{row['tokens_share']:.0%}"
        table.add_row(Text(row["label"]), marked["tokens"], share, marked["operations"], marked["seconds"])
    return table


def to_object(result: Mapping[str, Any], folder: Path, seconds: Mapping[int, SweepSeconds]) -> dict[str, Any]:
    """Return the result together with the measured seconds, in the form printed by ``--json``."""
    own = [{"trial": trial, **one._asdict()} for trial, one in seconds.items()]
    front = _fronts(result["judgement"], seconds).get("seconds", [])
    return {"folder": str(folder), **result, "seconds": {"settings": own, "front": front}}


def _fronts(judgement: Mapping[str, Any], seconds: Mapping[int, SweepSeconds]) -> dict[str, list[int]]:
    """Return the front for each unit; for seconds only if more than one setting was timed."""
    from intact.evaluate.sweep.fronts import front_by

    found = dict(judgement["fronts"])
    if len(seconds) > 1:
        found["seconds"] = front_by({trial: one.seconds for trial, one in seconds.items()}, judgement["settings"])
    return found


def _verdict(result: Mapping[str, Any], labels: list[str]) -> Iterator[str]:
    """Yield sentences that state the setting found or, if none was found, the space searched and the power."""
    judgement, margin = result["judgement"], result["design"]["margin"]
    rows = {row["trial"]: row for row in judgement["settings"]}
    if judgement["found"] is not None:
        row = rows[judgement["found"]]
        yield (
            f"found: {row['label']}, non-inferior to {labels[0]} within {margin:.1%} (p = "
            f"{row['against_baseline']['adjusted']:.2g}, by Holm), for {row['tokens_share']:.0%} of its tokens"
        )
        return
    yield (
        f"none found in this space: no setting is shown to be within {margin:.1%} of {labels[0]} for "
        f"{judgement['share']:.0%} of its tokens or fewer"
    )
    if judgement["dearer"] is not None:
        row = rows[judgement["dearer"]]
        yield (
            f"{row['label']} is non-inferior (p = {row['against_baseline']['adjusted']:.2g}, by Holm), but at "
            f"{row['tokens_share']:.0%} of the tokens"
        )
    power = judgement["power"]
    yield (
        "One as accurate as the baseline would have been shown to be non-inferior with a chance of "
        f"{power['power']:.0%}; a chance of 80% needs {power['problems_for_80']:,} problems held out"
    )
    tried = [trial for place, trial in enumerate(result["design"]["trials"]) if place not in result["untried"]]
    count = len(tried) - 1
    yield f"the space: {count} {'setting was' if count == 1 else 'settings were'} tried, with {_space(tried[1:])}"


def _space(trials: list[dict[str, Any]]) -> str:
    """Return the values on each axis among the settings."""
    values: dict[str, dict[str, None]] = {}
    for trial in trials:
        own = {"method": trial["method"], **trial["parameters"], **trial["sampling"], **trial["prompt"]}
        for name, value in own.items():
            values.setdefault(name, {})[str(value)] = None
    return "; ".join(f"{name} {', '.join(own)}" for name, own in values.items())


def save_plot(result: Mapping[str, Any], seconds: Mapping[int, SweepSeconds], path: Path) -> None:
    """Save accuracy with intervals against tokens, operations and seconds per problem, each with its front."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import LogLocator, NullFormatter

    judgement = result["judgement"]
    rows, count = {row["trial"]: row for row in judgement["settings"]}, judgement["problems"]
    fronts = _fronts(judgement, seconds)
    canvas = Canvas(figsize=(4.5 * len(fronts), 5), layout="constrained")
    for axis, (unit, front) in zip(canvas.subplots(1, len(fronts), squeeze=False).flat, fronts.items(), strict=True):
        timed = {trial: one.seconds for trial, one in seconds.items()}
        each = timed if unit == "seconds" else {trial: row[unit] / count for trial, row in rows.items()}
        for trial, cost in each.items():
            row, middle = rows[trial], rows[trial]["accuracy"]
            axis.errorbar(
                [cost], [middle], yerr=[[middle - row["low"]], [row["high"] - middle]], label=visible(row["label"]),
                fmt="os^Dv*"[list(rows).index(trial) % 6], color=f"C{list(rows).index(trial)}", capsize=2,
            )  # fmt: skip
        axis.plot([each[trial] for trial in front], [rows[trial]["accuracy"] for trial in front], "k--", linewidth=0.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel(f"{unit} of a problem")
        axis.set_ylabel("right, with 95% intervals")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    canvas.legend(*canvas.axes[0].get_legend_handles_labels(), loc="outside lower left", fontsize=8, frameon=False)
    held_out = visible(result["tasks"]["held_out"]["label"])
    canvas.suptitle(f"{held_out}: {count} problems held out, with the Pareto fronts")
    save_picture(canvas, path)
