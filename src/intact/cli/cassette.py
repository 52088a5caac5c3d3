"""``intact cassette``: record what a program asks an endpoint, replay it without network, and measure drift."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from intact._base.errors import ParameterError
from intact._base.packages import check_installed
from intact.cli.model_option import model_option
from intact.cli.options import Advanced, JsonOption, check_output
from intact.cli.output import bar, emit, note, one_line, show

if TYPE_CHECKING:
    from intact.serve.cassette.drift import DriftReport
    from intact.serve.cassette.recorder import Missing, RecordMode

RECORD_EXAMPLES = """\
What a test suite asks OpenAI, with the key in OPENAI_API_KEY
  intact cassette record answers.json -- pytest
Another endpoint, with a member and a pattern that are never written
  intact cassette record answers.json --upstream https://openrouter.ai/api/v1 \\
    --redact-field email --redact "cust-[0-9]+" -- python agent.py
Only what is not recorded yet, from a program in another terminal
  intact cassette record answers.json --record-mode new_episodes --port 8099
"""
REPLAY_EXAMPLES = """\
The same suite without network; a request without a recording is an error
  intact cassette replay answers.json -- pytest
New requests are answered by a local model, and recorded as such
  intact cassette replay answers.json --missing answer -m qwen2.5-coder-0.5b-instruct -- pytest
"""
DRIFT_EXAMPLES = """\
Which recorded answers does the endpoint give no more?
  intact cassette drift answers.json --upstream https://api.openai.com/v1
In a script; exit code 0: none changed, 1: some did, 2: could not be measured
  intact cassette drift answers.json --max-requests 50 --json > drift.json
"""
CHANGED = 1
UNMEASURED = 2
_MATCHING = Advanced("Matching and redaction")
_LIMITS = Advanced("Limits")

CassetteFile = Annotated[Path, typer.Argument(metavar="FILE", help="Cassette.", show_default=False)]
CommandArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND]", help="Program to run with its endpoint set.", show_default=False),
]
UpstreamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--upstream",
        metavar="[API=]URL",
        help="Endpoint, or that of an API: openai, anthropic or ollama; repeatable.",
        show_default="that of the environment, else the public one",
    ),
]
ModeOption = Annotated[
    Literal["once", "new_episodes", "none", "all"] | None,
    typer.Option(
        "--record-mode",
        help="Requests to record: those of a new file, new ones, none, or all again.",
        show_default=False,
    ),
]
MissingOption = Annotated[
    Literal["fail", "ask", "answer"] | None,
    typer.Option(
        "--missing", help="Answer to a request without a recording: an error, the endpoint's, or the local model's."
    ),
]
MatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--match-on",
        metavar="PART",
        help="Part of a request that must be equal: method, host, path, query, headers or body; repeatable.",
        show_default="method, path, body",
        rich_help_panel=_MATCHING,
    ),
]
FieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--redact-field",
        metavar="NAME",
        help="Member of JSON bodies whose values are never written; repeatable.",
        show_default=False,
        rich_help_panel=_MATCHING,
    ),
]
PatternOption = Annotated[
    list[str] | None,
    typer.Option(
        "--redact",
        metavar="REGEX",
        help="Texts that are never written, and do not matter for matching; repeatable.",
        show_default=False,
        rich_help_panel=_MATCHING,
    ),
]
RepeatsOption = Annotated[
    bool,
    typer.Option(
        "--allow-playback-repeats",
        help="Answer requests that are repeated more often than recorded with the last recording.",
        rich_help_panel=_MATCHING,
    ),
]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of 127.0.0.1; 0 picks a free one.")]


def record(
    file: CassetteFile,
    command: CommandArgument = None,
    upstream: UpstreamOption = None,
    record_mode: ModeOption = None,
    match_on: MatchOption = None,
    redact_field: FieldOption = None,
    redact: PatternOption = None,
    allow_playback_repeats: RepeatsOption = False,
    port: PortOption = 0,
    json: JsonOption = False,
) -> None:
    """Record requests and answers between a program and its endpoint; what is recorded already is replayed."""
    _run(
        file, command or [], mode=record_mode, missing="ask", upstream=upstream, match_on=match_on,
        redact=(redact_field or [], redact or []), repeats=allow_playback_repeats, port=port, json=json,
    )  # fmt: skip


def replay(
    file: CassetteFile,
    command: CommandArgument = None,
    missing: MissingOption = "fail",
    model: Annotated[str | None, model_option("Local model for --missing answer.")] = None,
    upstream: UpstreamOption = None,
    record_mode: ModeOption = None,
    match_on: MatchOption = None,
    redact_field: FieldOption = None,
    redact: PatternOption = None,
    allow_playback_repeats: RepeatsOption = False,
    port: PortOption = 0,
    json: JsonOption = False,
) -> None:
    """Answer a program's requests from a cassette, without network unless --missing is ask."""
    if not file.exists():
        raise ParameterError(f"{file} does not exist: record it first, with intact cassette record")
    _run(
        file, command or [], mode=record_mode, missing=missing, upstream=upstream, match_on=match_on,
        redact=(redact_field or [], redact or []), repeats=allow_playback_repeats, port=port, json=json, model=model,
    )  # fmt: skip


def drift(
    file: CassetteFile,
    upstream: UpstreamOption = None,
    max_requests: Annotated[
        int, typer.Option("--max-requests", min=1, help="Maximum requests.", rich_help_panel=_LIMITS)
    ] = 300,
    max_tokens: Annotated[
        int,
        typer.Option("--max-tokens", min=1, help="Maximum generated tokens of all answers.", rich_help_panel=_LIMITS),
    ] = 100_000,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=0.1, help="Time for sending requests.", rich_help_panel=_LIMITS)
    ] = 300.0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Maximum concurrent requests.", rich_help_panel=_LIMITS)
    ] = 4,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Timeout of a request in seconds.", rich_help_panel=_LIMITS)
    ] = 120.0,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with all changes.", show_default=False)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send recorded requests to the endpoint again; exit code 1 if an answer changed, 2 if it could not be measured.

    Keys come from OPENAI_API_KEY, ANTHROPIC_API_KEY or INTACT_API_KEY.
    """
    from intact.serve.cassette.cassette import Cassette
    from intact.serve.cassette.drift import Limits, measure_drift
    from intact.serve.cassette.upstream import read_upstreams

    check_output("--html", html)
    cassette, upstreams = Cassette.read(file), read_upstreams(upstream or ())
    limits = Limits(max_requests, max_tokens, max_seconds, concurrency)
    with bar() as progress:
        task = progress.add_task("requests", total=min(len(cassette.entries), max_requests))
        report = measure_drift(
            cassette, upstreams, limits, timeout=timeout, progress=lambda done: progress.update(task, completed=done)
        )
    if html is not None:
        from intact._base.files import write_whole
        from intact.serve.cassette.drift_page import drift_page

        write_whole(html, drift_page(report, file.name))
    if json:
        emit(report.to_document())
    else:
        _show_drift(report)
    if report.changed:
        raise typer.Exit(CHANGED)
    if report.failed or not report.compared:
        raise typer.Exit(UNMEASURED)


def _show_drift(report: DriftReport) -> None:
    for one in report.changed:
        where = one.test or "request"
        show(("changed ", "bold red"), one_line(f"{where}: {one.path}, at {one.place}"))
        show(one_line(f"  … {one.prompt}"), style="dim")
        show(*(f"{one_line(line)}\n" for line in one.text.split("\n")[:-1]), one_line(one.text.split("\n")[-1]))
    for failure in report.failed:
        show(("failed  ", "bold yellow"), one_line(f"{failure.test or 'request'}: {failure.path}: {failure.reason}"))
    for reason, count in sorted(report.skipped.items()):
        show(("not sent", "yellow"), one_line(f" {count} {reason}"))
    low, high = report.interval
    if report.compared:
        share = len(report.changed) / report.compared
        show(
            f"{len(report.changed)} of {report.compared} answers changed: {share:.1%} (95% interval: {low:.1%} to "
            f"{high:.1%}), {report.tokens:,} tokens generated in {report.seconds:,.1f} s"
        )
    else:
        show("no answer was compared", style="yellow")


def _run(
    file: Path,
    command: Sequence[str],
    *,
    mode: RecordMode | None,
    missing: Missing | None,
    upstream: Sequence[str] | None,
    match_on: Sequence[str] | None,
    redact: tuple[Sequence[str], Sequence[str]],
    repeats: bool,
    port: int,
    json: bool,
    model: str | None = None,
) -> None:
    """Run a proxy, and a program that uses it; exit with the program's status."""
    from intact.serve import PACKAGES

    check_installed("a cassette", *PACKAGES, "httpx")
    from intact.serve.cassette.local import LocalModel
    from intact.serve.cassette.matching import check_matchers
    from intact.serve.cassette.recorder import CassetteRecorder, RecordPolicy, open_cassette
    from intact.serve.cassette.redaction import Redaction
    from intact.serve.cassette.running import proxying
    from intact.serve.cassette.upstream import read_upstreams
    from intact.serve.client_variables import client_variables

    if (missing == "answer") != (model is not None):
        raise ParameterError("--missing answer and --model MODEL need each other: the model answers missing requests")
    check_output("the cassette", file)
    cassette, is_new = open_cassette(file, check_matchers(match_on) if match_on else None, mode)
    policy = RecordPolicy.of(mode, missing, repeats, is_new=is_new)
    upstreams = read_upstreams(upstream or ()) if policy.missing == "ask" else {}
    local = None if model is None else LocalModel(model)
    recorder = CassetteRecorder(cassette, policy, Redaction(*redact), is_new=is_new)
    status = 0
    try:
        with proxying(recorder, upstreams, local, port=port) as proxy:
            variables = client_variables(proxy.url, os.environ, keep_keys=policy.missing == "ask")
            status = _run_command(command, variables) if command else _wait(proxy.url)
    finally:
        written = recorder.save(file)
    facts = {"file": str(file), "written": written, "status": status} | vars(recorder.counts)
    if json:
        emit(facts | {"model": local and local.name, "identity": local and local.identity})
    else:
        note(f"{file}: {recorder.counts.text(local.name if local else '')}")
    if status:
        raise typer.Exit(status)


def _run_command(command: Sequence[str], variables: dict[str, str]) -> int:
    """Run a program; return its exit status, by the shell's convention for signals."""
    try:
        process = subprocess.Popen(command, env=os.environ | variables)
    except OSError as error:
        raise ParameterError(f"{command[0]} cannot be run: {error.strerror or error}") from error
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the program got it too, and decides when to end
            continue
        return status if status >= 0 else 128 - status


def _wait(url: str) -> int:
    """Wait until the user ends the proxy."""
    note(f"listening at {url}: set OPENAI_BASE_URL={url}/v1, ANTHROPIC_BASE_URL={url}, OLLAMA_HOST={url}")
    note("Ctrl-C ends it, and writes the cassette")
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
