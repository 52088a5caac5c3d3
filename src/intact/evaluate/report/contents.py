"""The contents of a report: scores, comparisons, curves, costs, calibration, problems, failures, commands."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from intact.errors import IntactError, ParameterError
from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm, arms_of, pairs_of
from intact.evaluate.report.blocks import Block, Code, Paragraph, Picture, ReportDocument, Section, Table, TextTrees
from intact.evaluate.report.failures import failures
from intact.evaluate.report.prediction import prediction
from intact.evaluate.results import EvaluationRun
from intact.evaluate.scores import DIGITS
from intact.exact import significant
from intact.stats.calibration import brier, calibration_error, reliability, selective, selective_accuracy
from intact.stats.checks import Floats
from intact.stats.laws.extrapolation import extrapolate
from intact.stats.laws.frontier import Point, frontier
from intact.stats.multiple import holm
from intact.stats.paired import mcnemar, paired_bootstrap

EXTRAPOLATED = (100, 1_000, 10_000)
"""Numbers of samples for which coverage is extrapolated."""
_COUNTED = ("accuracy", "acc")
_DIGEST = 16
"""Digits of digests in a report."""


def report(runs: Mapping[Path, EvaluationRun], title: str = "") -> ReportDocument:
    """Build the report of runs.

    Parameters
    ----------
    runs : mapping of Path to Run
        As `intact.evaluate.files.read` gives them.

    Raises
    ------
    ParameterError
        If there is none, or a library is missing.
    """
    arms = arms_of(runs)
    labels = list(dict.fromkeys(arm.label for arm in arms))
    sections = [Section("Scores", [_scores(arms), *_caveats(runs)])]
    sections += _section("Comparisons", _comparisons(arms))
    for label in labels:
        own = [arm for arm in arms if arm.label == label]
        of = f": {label}" if len(labels) > 1 else ""
        for name, make in _OF_TASK.items():
            sections += _section(f"{name}{of}", make(own))
    sections.append(Section("How to make it again", list(_again(runs))))
    return ReportDocument(title or "Evaluation: " + ", ".join(labels), sections)


def _section(title: str, blocks: Iterator[Block]) -> list[Section]:
    found = list(blocks)
    return [Section(title, found)] if found else []


def _settled(value: float) -> float:
    """Round to ten digits, so that the last bits of a library's sum do not decide how a tie is printed."""
    return significant(value, DIGITS)


def percent(value: float) -> str:
    """Format a share as a percentage."""
    return f"{_settled(value):.1%}"


def _points(difference: float) -> str:
    """Format a difference of shares in percentage points."""
    return f"{_settled(100 * _settled(difference)):+.1f}"


def _bounds(low: float | None, high: float | None, form: Callable[[float], str] = percent) -> str:
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def _or_nan(bound: float | None) -> float:
    return math.nan if bound is None else bound


def _scores(arms: Sequence[ReportArm]) -> Table:
    rows = []
    for arm in arms:
        passed, voted = arm.curve("pass@"), arm.curve("majority@")
        chosen = [score for score in arm.scores if "@" not in score.metric]
        for score in [*chosen, *passed[:1], *passed[1:][-1:], *voted[-1:]]:
            count = score.metric == "tokens"
            value = f"{score.value:,.0f}" if count else percent(score.value)
            between = _bounds(score.low, score.high, "{:,.0f}".format if count else percent)
            rows.append([arm.name, arm.label, score.metric, value, between, score.interval, f"{score.problems:,}"])
    return Table(["run", "task", "metric", "value", "95% interval", "interval by", "problems"], rows)


def _caveats(runs: Mapping[Path, EvaluationRun]) -> Iterator[Paragraph]:
    for path, run in runs.items():
        for why, words in (("failed", "failed"), ("spent", "had spent their budget")):
            count = sum(record.why == why for record in run.records)
            if count:
                yield Paragraph(f"{path.name}: {count} of {len(run.records)} problems {words}.", True)
        if run.missing:
            lacks = f"of version {run.version} of the format, and lacks {', '.join(run.missing)}"
            yield Paragraph(f"{path.name} is {lacks}.", True)
        for caveat in run.manifest["caveats"]:
            yield Paragraph(f"{path.name}: {caveat}", True)


def _comparisons(arms: Sequence[ReportArm]) -> Iterator[Block]:
    """Yield differences on the same problems; p-values are corrected for their number."""
    found, refused, flagged = [], [], []
    for one, other, forbidden, differing in pairs_of(arms):
        if forbidden:
            refused.append(
                Paragraph(f"{one.name} and {other.name} on {one.label} are not compared: {forbidden}.", True)
            )
            continue
        if differing:
            what = " and ".join(differing)
            flagged.append(Paragraph(f"{one.name} and {other.name} on {one.label} differ in their {what} too.", True))
        found.append((one, other, *_difference(one, other)))
    ps = [p for *_, p in found if p is not None]
    corrected = iter(holm(ps).p.tolist() if ps else [])
    rows = []
    for one, other, difference, low, high, p in found:
        between = _bounds(low, high, _points)
        corrected_p = "" if p is None else f"{_settled(next(corrected)):.3g}"
        rows.append([f"{one.name} − {other.name}", one.label, _points(difference), between, corrected_p])
    if rows:
        yield Table(["difference", "task", "points", "95% interval", "p (Holm)"], rows)
        yield Paragraph(
            "Paired, problem by problem: McNemar's exact test and Bonett and Price's interval where each problem was "
            "asked once, else the paired bootstrap over problems."
        )
    yield from flagged
    yield from refused


def _difference(one: ReportArm, other: ReportArm) -> tuple[float, float | None, float | None, float | None]:
    names = list(one.rates)
    a, b = np.array([one.rates[name] for name in names]), np.array([other.rates[name] for name in names])
    if np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        found = mcnemar(a, b)
        return found.difference, found.low, found.high, found.exact
    try:
        between = paired_bootstrap(a, b)
    except ParameterError:  # all differences are equal
        return float((a - b).mean()), None, None, None
    return between.estimate, between.low, between.high, None


def _scaling(arms: Sequence[ReportArm]) -> Iterator[Block]:
    """Yield pass@k and majority@k over k, and extrapolations of the former."""
    lines: list[figures.PlotLine] = []
    rows: list[list[str]] = []
    notes: list[Paragraph] = []
    for arm in arms:
        for kind in ("pass@", "majority@"):
            own = arm.curve(kind)
            if len(own) < 2:
                continue
            k = [int(score.metric.partition("@")[2]) for score in own]
            low, high = ([_or_nan(getattr(score, bound)) for score in own] for bound in ("low", "high"))
            line = figures.PlotLine(f"{kind}k, {arm.name}", k, [score.value for score in own], low, high)
            if kind == "pass@":
                try:
                    line = line._replace(fit=_law(arm, max(k), rows, notes))
                except IntactError as error:
                    notes.append(Paragraph(f"No law is fitted to {arm.name}: {error}."))
            lines.append(line)
    if not lines:
        return
    name = f"scaling {arms[0].label}"
    caption = "Coverage (pass@k) and majority@k over the number of samples, unbiased, with 95% intervals over problems"
    fitted = "; thin lines and bands are fitted laws" if rows else ""
    yield Picture(figures.curves(name, lines, "samples a problem (k)", "right"), f"{caption}{fitted}.")
    if rows:
        yield Table(["run", "law", "exponent", *[f"pass@{k:,}" for k in EXTRAPOLATED]], rows)
        yield Paragraph("Foretold, with 95% intervals by resampling problems, the law chosen anew each time.")
    yield from notes


def _law(
    arm: ReportArm, most: int, rows: list[list[str]], notes: list[Paragraph]
) -> tuple[Floats, Floats, Floats, Floats]:
    n, c = arm.counts
    k = np.unique(np.concatenate([np.geomspace(1, 8 * most, 40).round(), EXTRAPOLATED]))
    found = extrapolate(n, c, k)
    law = getattr(found.law, "family", "exp(a k^b)")
    of = {int(at): i for i, at in enumerate(found.k)}
    predicted = [
        f"{percent(found.coverage[of[at]])} ({_bounds(found.low[of[at]], found.high[of[at]])})" for at in EXTRAPOLATED
    ]
    estimate, low, high = map(_settled, found.exponent)
    exponent = f"{estimate:.2f} ({low:.2f} to {high:.2f})"
    rows.append([arm.name, law, exponent, *predicted])
    notes += [Paragraph(f"{arm.name}: {caution}.", True) for caution in found.cautions]
    near = found.k <= 8 * most
    return found.k[near], found.coverage[near], found.low[near], found.high[near]


def _costs(arms: Sequence[ReportArm]) -> Iterator[Block]:
    points, places = [], {}
    for arm in arms:
        score, tokens = arm.score(*_COUNTED), arm.score("tokens")
        if score is None or tokens is None:
            continue
        operations = sum(record.cost["operations"] for record in arm.records) / len(arm.records)
        points.append(Point(arm.name, score.value, {"tokens": tokens.value, "operations": operations}))
        places[arm.name] = tokens.value, score.value, _or_nan(score.low), _or_nan(score.high)
    if len(points) < 2:
        return
    sorted_out = frontier(points)
    kept = [point.name for point in sorted_out.kept]
    caption = "Accuracy over tokens a problem; filled marks are on the frontier: nothing is as good for less."
    yield Picture(figures.frontier(f"frontier {arms[0].label}", places, kept), caption)
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
    yield Table(["run", "accuracy", "tokens", "G multiply-adds", "frontier"], rows)


def _calibration(arms: Sequence[ReportArm]) -> Iterator[Block]:
    bins, rows = {}, []
    for arm in arms:
        own = [(record.confidence, bool(record.correct)) for record in arm.records if record.confidence is not None]
        if len(own) < len(arm.records) or not all(0 <= confidence <= 1 for confidence, _ in own):
            continue
        stated, right = [float(confidence) for confidence, _ in own], [correct for _, correct in own]
        bins[arm.name] = [(one.confidence, one.right, one.texts) for one in reliability(stated, right)]
        figures_of = [calibration_error(stated, right), brier(stated, right), selective(stated, right).aurc]
        half = percent(selective_accuracy(stated, right, 0.5))
        rows.append([arm.name, *[f"{_settled(value):.3f}" for value in figures_of], half])
    if not rows:
        return
    caption = (
        "How often answers are right, over the confidence that the method states; larger marks hold more problems."
    )
    yield Picture(figures.reliability(f"calibration {arms[0].label}", bins), caption)
    yield Table(["run", "ECE", "Brier", "AURC", "right among the surer half"], rows)


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


def _failures(arms: Sequence[ReportArm]) -> Iterator[Block]:
    for arm in arms:
        found = failures(arm)
        wrong = sum(not record.correct for record in arm.records)
        if found:
            yield Paragraph(f"{arm.name}: {wrong} of {len(arm.records)} wrong.")
            yield TextTrees(found, wrong - len(found))
        elif wrong and not arm.run.traces:
            yield Paragraph(f"{arm.name}: {wrong} wrong; their texts are not beside the result file.")


_OF_TASK = {
    "Scaling": _scaling,
    "Cost and accuracy": _costs,
    "What was not run": prediction,
    "Calibration": _calibration,
    "Problems": _problems,
    "Failures": _failures,
}
"""The sections of each task."""


def _again(runs: Mapping[Path, EvaluationRun]) -> Iterator[Block]:
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
