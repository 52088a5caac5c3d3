"""``intact audit``: test whether another engine's log is consistent with the model and settings that it claims."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.model_option import model_option
from intact.cli.options import ClockNowOption, JsonOption, ProfileOption, ThreadsOption
from intact.cli.output import bar, emit, new_table, out, show, token_text
from intact.text.template import read_time

if TYPE_CHECKING:
    from intact.measure.audit.decision import AuditFinding, AuditReport
    from intact.measure.audit.recompute import Scored

EXAMPLES = """\
Audit a log of llama.cpp, vLLM, Transformers or an endpoint, as JSON lines (docs/audit.md)
  intact audit answers.jsonl --model qwen2.5-coder-0.5b-instruct
Compare with a log that you made yourself, with the same engine and model
  intact audit answers.jsonl --model ./model.gguf --honest mine.jsonl
In a script; exit code 0: consistent, 1: suspicious, 2: cannot be audited
  intact audit answers.jsonl --model ./model.gguf --json > report.json
"""

SUSPICIOUS = 1
_WORST = 5


def command(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Log of the engine's requests and responses.")],
    model: Annotated[str, model_option("Model that it claims: a name or a path.")],
    honest: Annotated[
        Path | None,
        typer.Option("--honest", metavar="LOG", help="Log known to be honest, for comparison.", show_default=False),
    ] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="Probability of calling an honest log suspicious.")] = 0.01,
    ignore_seed: Annotated[bool, typer.Option("--ignore-seed", help="Judge by likelihoods only.")] = False,
    now: ClockNowOption = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Judge a log from an engine that is not bit-exact; exit code 1 if it is suspicious, 2 if it cannot be audited."""
    from intact.measure.audit.decision import judge, scipy_special
    from intact.measure.audit.log import read_log
    from intact.measure.audit.recompute import read_all

    if not 0 < alpha < 1:
        raise ParameterError(f"--alpha must lie between 0 and 1, got {alpha:g}")
    scipy_special()  # raises now rather than after hours of work
    entries, known = read_log(log), [] if honest is None else read_log(honest)
    loaded = fetch.load(model, profile, threads)
    time = None if now is None else read_time(now)
    responses, trusted = read_all(loaded, entries, time), read_all(loaded, known, time)
    with bar() as progress:
        total = sum(len(response.output) for response in [*trusted, *responses])
        task = progress.add_task("tokens", total=total)
        scored = [_score(loaded, some, ignore_seed, progress, task=task) for some in (trusted, responses)]
    others = None if honest is None else _honest(scored[0], str(honest), Path(model).name, profile)
    report = judge(scored[1], profile, others, alpha)
    if json:
        emit(document(log, model, profile, report, scored=scored[1]))
    else:
        show_report(report, scored[1], loaded.tokenizer)
    if report.verdict == "suspicious":
        raise typer.Exit(SUSPICIOUS)


def _score(model: Any, responses: Any, ignore_seed: bool, progress: Any, task: Any) -> list[Scored]:
    from intact.measure.audit.recompute import score

    def advance(tokens: int) -> None:
        progress.advance(task, tokens)

    return list(score(model, responses, ignore_seed=ignore_seed, progress=advance))


def _honest(scored: Sequence[Scored], name: str, model: str, profile: str) -> Any:
    from intact.measure.audit.decision import BLOCK, honest_from, values_of
    from intact.measure.audit.scores import KINDS

    return [
        honest_from(scored, kind, name, model, profile=profile)
        for kind in KINDS
        if kind != "likelihood" and any(len(text) >= BLOCK for text in values_of(scored, kind))
    ]


def document(log: Path, model: str, profile: str, report: AuditReport, scored: Sequence[Scored]) -> dict[str, Any]:
    """Return the whole audit as a JSON value; infinite scores become null."""
    return {
        "log": str(log),
        "model": model,
        "profile": profile,
        "verdict": report.verdict,
        "alpha": report.alpha,
        "unjudged": [one.__dict__ for one in report.unjudged],
        "unread": unread(scored),
        "findings": [_finding(finding) | {"suspicious": report.suspicious(finding)} for finding in report.findings],
        "responses": [
            {
                "where": one.response.entry.where,
                "kind": one.kind,
                "retokenised": one.response.retokenised,
                "tokens": one.response.output,
                "expected": [token.expected for token in one.scores],
                "scores": [_finite(token.score) for token in one.scores],
                "surprises": [_finite(token.surprise) for token in one.scores],
            }
            for one in scored
        ],
    }


def unread(scored: Sequence[Scored]) -> list[str]:
    """Return the names of the log's fields that the audit does not understand."""
    return sorted({name for one in scored for name in one.response.entry.unread})


def _finite(score: float | None) -> float | None:
    """Round a score to six decimals, since further digits depend on NumPy's CPU path; None if JSON cannot hold it."""
    return round(score, 6) + 0.0 if score is not None and math.isfinite(score) else None


def _finding(finding: AuditFinding) -> dict[str, Any]:
    """Return a finding as JSON: scores rounded to six decimals, the p-value to six significant digits."""
    from intact._base.exact import significant

    rounded = {"score": _finite(finding.score), "honest": _finite(finding.honest), "p": significant(finding.p, 6)}
    return asdict(finding) | rounded


def show_report(report: AuditReport, scored: Sequence[Scored], tokenizer: Any) -> None:
    """Print the findings, the worst-fitting tokens, and the verdict."""
    from intact.measure.audit.scores import KINDS

    columns = "responses", "tokens", "as expected", "mean score", "honest", "p"
    table = new_table("evidence", *columns, right=columns)
    for finding in report.findings:
        cells = [finding.kind, str(finding.responses), str(finding.tokens), _share(finding.matches)]
        cells += [f"{finding.score:.4f}", f"{finding.honest:.4f}", f"{finding.p:.2g}"]
        table.add_row(*cells, style="red" if report.suspicious(finding) else "")
    out().print(table)
    for finding in report.findings:
        show(f"{finding.kind}: {KINDS[finding.kind]}; against {finding.against}", style="dim")
    for line in worst(scored, tokenizer):
        show(line)
    retokenised = sum(one.response.retokenised for one in scored)
    if retokenised:
        show(
            f"{retokenised} of {len(scored)} responses were texts, tokenised here: their tokens "
            "may differ from the ones that were drawn",
            style="dim",
        )
    for one in report.unjudged:
        show(f"{one.kind}: {one.tokens} tokens are not judged: {one.why}", style="yellow")
    names = unread(scored)
    if names:
        show(f"unknown fields, which may affect sampling: {', '.join(names)}", style="dim")
    colour = "red" if report.verdict == "suspicious" else "green"
    show((report.verdict, colour), f" at {report.alpha:g} false alarms: {_meaning(report, scored)}")


def _meaning(report: AuditReport, scored: Sequence[Scored]) -> str:
    tokens = sum(len(one.scores) for one in scored)
    if report.verdict == "suspicious":
        return "another model, quantisation or sampling than claimed, or an engine unlike those compared with"
    return f"nothing in {tokens} tokens contradicts the claim (docs/audit.md says what this many would show)"


def _share(matches: float | None) -> str:
    return "-" if matches is None else f"{matches:.1%}"


def worst(scored: Sequence[Scored], tokenizer: Any) -> list[str]:
    """Describe the tokens whose scores are farthest from honest ones."""
    places = (
        (token.score, one.response.entry.where, index, one.response.output[index], token.expected)
        for one in scored
        for index, token in enumerate(one.scores)
        if token.score
    )
    return [
        f"  {where}, token {index}: {_name(tokenizer, drawn)} where {_name(tokenizer, expected)} is due "
        f"({'could not be drawn' if math.isinf(score) else f'{score:.3f}'})"
        for score, where, index, drawn, expected in heapq.nlargest(_WORST, places, key=lambda place: place[0])
    ]


def _name(tokenizer: Any, token: int | None) -> str:
    return str(token) if token is None else f"{token} {token_text(tokenizer, token)}"
