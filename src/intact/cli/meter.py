"""``intact meter``: measure whether an endpoint's answers depend on its other work."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact._base.files import sha256_of
from intact._base.packages import check_installed
from intact.cli import fetch
from intact.cli.interruption import resumable
from intact.cli.options import Advanced, JsonOption, ProfileOption, ThreadsOption, check_output, complete_model
from intact.cli.output import emit, new_table, note, out, show, stage_bar
from intact.cli.seeds import parse_seeds
from intact.measure.meter.plan import COMPANY, HEATS, TOLERANCE, MeterPlan, read_company, read_settings
from intact.measure.meter.spending import Caps

if TYPE_CHECKING:
    from intact.measure.meter.claim import ModelClaim
    from intact.measure.meter.client import MeteredEndpoint, MeterExchange
    from intact.measure.meter.journal import MeterJournal
    from intact.measure.meter.report import MeterFacts
    from intact.measure.meter.run import MeterOutcome, MeterSettings
    from intact.measure.meter.summary import MeterSummary

EXAMPLES = """\
Whether a server answers the same alone and among up to 44 others; exit code 0: it does, 1: not always, 2: unknown
  intact meter http://127.0.0.1:8000 --out meter.html
More rounds later, and company of 256; what is in the journal is not measured again
  intact meter http://127.0.0.1:8000 --journal meter.jsonl --rounds 3 --max-requests 2000 --max-seconds 3600
Also whether it serves the model that it claims to serve
  intact meter http://127.0.0.1:11434 --claims qwen2.5-coder-0.5b-instruct
A paid endpoint: its key comes from the environment, and the run stops before it costs more
  INTACT_API_KEY=... intact meter https://HOST/v1 --model NAME --price-in 0.15 --price-out 0.6 --max-cost 0.5
"""
_CAPS = Caps()
_PLAN = MeterPlan()
LIMITS, SITUATIONS = Advanced("Limits"), Advanced("Situations")


def command(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="The endpoint, such as http://127.0.0.1:8000.")],
    name: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME", help="Name of the model there.", show_default="the first listed"),
    ] = "",
    api: Annotated[
        str, typer.Option("--api", help="API: openai, ollama or anthropic.", show_default="what the endpoint has")
    ] = "",
    claims: Annotated[
        str | None,
        typer.Option(
            "--claims",
            metavar="MODEL",
            help="Exact model to compare with: name, path or hf:OWNER/REPO.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    saved: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write a report (HTML).", show_default=False)
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="File of results, to resume from.", show_default=False),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", metavar="FILE", help="Prompts, one per line.", show_default="a sample of GSM8K's questions"
        ),
    ] = None,
    probes: Annotated[int, typer.Option("--probes", min=1, help="Prompts per round and setting.")] = _PLAN.probes,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds, each with new prompts.")] = _PLAN.rounds,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Maximum tokens per answer.")] = 64,
    temperature: Annotated[
        list[float] | None,
        typer.Option("--temperature", help="Temperature; repeatable.", show_default=", ".join(map(str, HEATS))),
    ] = None,
    seed: Annotated[
        str, typer.Option("--seed", metavar="SEEDS", help="Seeds for sampled requests: 0-4, or 0,7.")
    ] = "0",
    company: Annotated[
        str,
        typer.Option(
            "--company", metavar="SIZES", help="Numbers of concurrent other requests.", rich_help_panel=SITUATIONS
        ),
    ] = ",".join(map(str, COMPANY)),
    pause: Annotated[
        float, typer.Option("--pause", help="Length of a pause in seconds; 0: none.", rich_help_panel=SITUATIONS)
    ] = _PLAN.pause,
    restart: Annotated[
        str,
        typer.Option(
            "--restart",
            metavar="COMMAND",
            help="Shell command that restarts the endpoint.",
            rich_help_panel=SITUATIONS,
            show_default=False,
        ),
    ] = "",
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, help="Maximum requests.", rich_help_panel=LIMITS)
    ] = _CAPS.requests,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=1, help="Maximum duration.", rich_help_panel=LIMITS)
    ] = 300.0,
    max_total: Annotated[
        int | None,
        typer.Option(
            "--max-tokens-total",
            min=1,
            help="Maximum tokens, prompts included.",
            rich_help_panel=LIMITS,
            show_default=False,
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, help="Maximum cost.", rich_help_panel=LIMITS, show_default=False),
    ] = None,
    price_in: Annotated[
        float, typer.Option("--price-in", min=0, help="Price of 1M prompt tokens.", rich_help_panel=LIMITS)
    ] = 0.0,
    price_out: Annotated[
        float, typer.Option("--price-out", min=0, help="Price of 1M generated tokens.", rich_help_panel=LIMITS)
    ] = 0.0,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the endpoint.", rich_help_panel=LIMITS)
    ] = 60.0,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds per request.", rich_help_panel=LIMITS)
    ] = 120.0,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Share of changed answers to decide about.", rich_help_panel=LIMITS)
    ] = TOLERANCE,
    stop_early: Annotated[
        bool,
        typer.Option("--stop-early", help="Stop once this is decided.", rich_help_panel=LIMITS),
    ] = False,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure whether an endpoint answers the same alone and under load; exit code 1 if not, 2 if unknown."""
    from intact.measure.meter.client import MeteredEndpoint
    from intact.measure.meter.journal import MeterJournal
    from intact.measure.meter.questions import read_prompts, sample_prompts
    from intact.measure.meter.run import MeterSettings
    from intact.measure.meter.spending import Spending
    from intact.measure.meter.summary import summarize

    check_output("--out", saved)
    check_output("--journal", kept)
    if not 0 < tolerance < 1:
        raise ParameterError(f"--tolerance must lie between 0 and 1, got {tolerance:g}")
    if max_cost is not None and not price_in + price_out:
        raise ParameterError("--max-cost needs --price-in or --price-out: the prices of a million tokens")
    heats = read_settings(temperature or HEATS, parse_seeds(seed))
    plan = MeterPlan(probes, rounds, heats, read_company(company), pause=pause, restart=restart)
    caps = Caps(max_requests, max_total, max_seconds, max_cost, prices=(price_in, price_out))
    settings = MeterSettings(
        read_prompts(prompts) if prompts else sample_prompts(),
        tokens,
        wait=wait,
        stop_at=tolerance if stop_early else None,
    )
    endpoint = MeteredEndpoint(url, Spending(caps), api=api, model=name, timeout=timeout)
    about = {"url": url, "api": api, "model": name, "tokens": tokens, "prompts": prompts and sha256_of(prompts)}
    journal = MeterJournal(kept, about)
    if claims is not None:
        check_installed("--claims", "scipy")
    model = None if claims is None else fetch.load(claims, profile, threads)
    with resumable(kept, "--journal FILE"):
        outcome = asyncio.run(_measure(endpoint, plan, journal, settings))
    claim = None if model is None else _compare(model, str(claims), outcome.exchanges, profile, endpoint=endpoint)
    summary = summarize(journal.trials, tolerance)
    program = context.obj or [context.find_root().info_name]
    words = shlex.join([*program, *context.meta["intact.arguments"]])
    facts = _facts(endpoint, journal, plan, outcome, command=words, claim=claim)
    if saved is not None:
        _write(saved, summary, journal, facts)
    if json:
        emit(_record(summary, journal, facts))
    else:
        _print(summary, journal, facts)
        if saved is not None:
            note(f"wrote {saved}")
    if summary.status:
        raise typer.Exit(summary.status)


async def _measure(
    endpoint: MeteredEndpoint, plan: MeterPlan, journal: MeterJournal, settings: MeterSettings
) -> MeterOutcome:
    from intact.measure.meter.run import measure

    with stage_bar(f"waiting for {endpoint.address}") as report:
        async with endpoint:
            await endpoint.find(settings.wait)
            return await measure(endpoint, plan, journal, settings, progress=report)


def _compare(
    model: Any, name: str, exchanges: list[MeterExchange], profile: str, *, endpoint: MeteredEndpoint
) -> ModelClaim:
    from intact.measure.meter.claim import compare_with

    with stage_bar(f"comparing with {name}") as report:
        done = 0

        def progress(tokens: int) -> None:
            nonlocal done
            done += tokens
            report(f"comparing with {name}", done, None)

        return compare_with(
            model,
            name,
            exchanges,
            plain_sampling=endpoint.plain_sampling,
            profile=profile,
            engine=endpoint.owner,
            progress=progress,
        )


def _facts(
    endpoint: MeteredEndpoint,
    journal: MeterJournal,
    plan: MeterPlan,
    outcome: MeterOutcome,
    *,
    command: str,
    claim: ModelClaim | None,
) -> MeterFacts:
    from intact.measure.meter.report import MeterFacts

    measured = {trial.condition for trial in journal.trials}
    return MeterFacts(
        url=endpoint.address,
        api=endpoint.api.name,
        model=endpoint.model,
        owner=endpoint.owner,
        used=journal.used(endpoint.spending),
        unmeasured=outcome.unmeasured,
        notes=endpoint.notes,
        lines={condition.name: condition.line for condition in plan.conditions if condition.name in measured},
        command=endpoint.clean(command),
        claim=claim,
    )


def _record(summary: MeterSummary, journal: MeterJournal, facts: MeterFacts) -> dict[str, Any]:
    """Return everything that was measured as a JSON value."""
    return {
        **facts._asdict(),
        "unmeasured": [{"step": step, "why": why} for step, why in facts.unmeasured],
        "claim": facts.claim and facts.claim._asdict(),
        "status": summary.status,
        **summary.to_dict(),
        "trials": [trial._asdict() | {"comparison": trial.comparison._asdict()} for trial in journal.trials],
    }


def _write(path: Path, summary: MeterSummary, journal: MeterJournal, facts: MeterFacts) -> None:
    from intact._base.files import write_whole
    from intact.evaluate.report.html import html
    from intact.measure.meter.report import document

    write_whole(path, html(document(summary, journal.trials, facts)))


def _print(summary: MeterSummary, journal: MeterJournal, facts: MeterFacts) -> None:
    from intact.measure.meter.report import COLUMNS, changes, claim_lines, remarks, row_of, verdict

    right = COLUMNS[2:]
    for setting in dict.fromkeys(group.setting for group in summary.groups):
        show(setting, style="bold")
        table = new_table(COLUMNS[0], *right, right=right, whole=COLUMNS)
        for group in (group for group in summary.groups if group.setting == setting):
            name, _, *cells = row_of(group)
            table.add_row(name, *cells, style="red" if group.share.changed else "")
        out().print(table)
    for prompt, situation, place, pieces, gap, _ in changes(journal.trials)[:3]:
        near = f"; gap {gap} nats" if gap else ""
        show(f"{situation}: {place} of the answer to {prompt[:40]!r}: {pieces}{near}", style="dim")
    show(verdict(summary), style="bold red" if summary.status else "bold green")
    for line in [*remarks(summary), *(claim_lines(facts.claim) if facts.claim else ())]:
        show(line)
    for what, why in facts.unmeasured:
        show(f"not measured: {what}: {why}", style="yellow")
    for line in facts.notes:
        show(line, style="yellow")
    used = facts.used
    note(f"{used['requests']:,.0f} requests, {used['tokens']:,.0f} tokens, {used['seconds']:,.0f} s")
