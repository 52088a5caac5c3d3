"""``intact diff``: find where two answers diverge, and how far apart their tokens' logits are at that point."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from intact._base.errors import LogError, ParameterError
from intact.cli import fetch
from intact.cli.model_option import model_option
from intact.cli.options import ClockNowOption, JsonOption, ProfileOption, SystemOption, ThreadsOption
from intact.cli.output import emit, note, quoted, show, token_text
from intact.cli.run import as_prompt
from intact.text import ChatPrompt
from intact.text.template import current, read_time

if TYPE_CHECKING:
    from intact.library import Model
    from intact.measure.audit.diff import Explanation, Parting

EXAMPLES = """\
Compare two answers of this program
  intact run "Name a colour." --temperature 1 --json > a.json
  intact run "Name a colour." --temperature 1 --seed 1 --json > b.json
  intact diff a.json b.json
Also show the logits where they diverge
  intact diff a.json b.json --model smollm2-135m-instruct --prompt "Name a colour."
Compare a receipt with another engine's log
  intact diff answer.receipt llama.jsonl --model ./model.gguf

Exit code 0: equal; 1: different; 2: they cannot be compared.
"""

PART = 1
_BEFORE, _AFTER = 60, 120


def command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A receipt, a log, or the output of intact run --json.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="A second file, also of one of these kinds.")],
    model: Annotated[str | None, model_option("Model that computes the logits where the answers diverge.")] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help="The prompt given to intact run, if neither file contains it.", show_default=False
        ),
    ] = None,
    system: SystemOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="The prompt was used without the chat template.")] = False,
    now: ClockNowOption = None,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two runs answer by answer; exit code 1 if any differs."""
    from intact.measure.audit.diff import compare
    from intact.measure.audit.runs import read_runs

    ones, others = read_runs(a), read_runs(b)
    partings = [compare(one, other) for one, other in zip(ones, others, strict=False)]
    loaded = None
    if model is not None:
        loaded = fetch.load(model, profile, threads)
    elif prompt is not None or system is not None:
        raise ParameterError("--prompt and --system need --model, which computes the logits")
    given = _Prompt(prompt, system, raw, current() if now is None else read_time(now))
    explained = [_explain(loaded, parting, given) for parting in partings]
    if json:
        emit(
            {
                "a": {"file": str(a), "answers": len(ones)},
                "b": {"file": str(b), "answers": len(others)},
                "answers": [_document(*pair) for pair in zip(partings, explained, strict=True)],
            }
        )
    else:
        for parting, explanation in zip(partings, explained, strict=True):
            for line in lines(parting, explanation, loaded):
                show(line)
    if len(ones) != len(others):
        note(f"{a} has {len(ones)} answers, {b} has {len(others)}: the rest were not compared")
    if len(ones) != len(others) or not all(parting.equal for parting in partings):
        raise typer.Exit(PART)


class _Prompt(NamedTuple):
    """The prompt options, and the time for the chat template."""

    text: str | None
    system: str | None
    raw: bool
    now: datetime


def _explain(model: Model | None, parting: Parting, given: _Prompt) -> Explanation | None:
    from intact.measure.audit.diff import explain

    if model is None or parting.equal:
        return None
    if parting.prompts == "differ":
        raise LogError(
            f"{parting.a.where} and {parting.b.where} had different prompts, so their logits cannot be compared"
        )
    return explain(model, _prompt_tokens(model, parting, given), parting)


def _prompt_tokens(model: Model, parting: Parting, given: _Prompt) -> Sequence[int]:
    known: Any = parting.a.prompt if parting.a.prompt is not None else parting.b.prompt
    if isinstance(parting.b.prompt, tuple) and parting.b.prompt and isinstance(parting.b.prompt[0], int):
        known = parting.b.prompt  # token ids are unambiguous
    if given.text is not None:
        known = as_prompt(model, given.text, given.system, given.raw, now=given.now)
    if known is None:
        raise ParameterError("neither file contains the prompt: give it with --prompt, as for intact run")
    if isinstance(known, ChatPrompt):
        return known.encode(model.tokenizer)
    if isinstance(known, str):
        return model.tokenizer.encode(known)
    if isinstance(known[0], int):
        return list(known)
    return model.tokenizer.encode_chat(known, now=given.now, control_tokens=True)  # as in other engines


def _document(parting: Parting, explanation: Explanation | None) -> dict[str, Any]:
    return {
        "a": parting.a.where,
        "b": parting.b.where,
        "equal": parting.equal,
        "unit": parting.unit,
        "common": parting.common,
        "lengths": [len(run.tokens or run.text or ()) for run in (parting.a, parting.b)],
        "prompts": parting.prompts,
        "settings": {name: [one, other] for name, one, other in parting.settings},
        "logprobs": None if parting.off is None else {"largest": parting.off[0], "first": parting.off[1]},
        "logits": None if explanation is None else dataclasses.asdict(explanation),
    }


def lines(parting: Parting, explanation: Explanation | None, model: Any) -> Iterator[str]:
    """Yield the comparison as lines of text."""
    yield f"A {parting.a.where}"
    yield f"B {parting.b.where}"
    if parting.prompts == "differ":
        yield "  the prompts differ"
    for name, one, other in parting.settings:
        yield f"  {name}: A {one}, B {other}"
    if parting.off is not None:
        largest, first = parting.off
        where = "nowhere" if first is None else f"from token {first} on"
        yield f"  log-probabilities of equal tokens differ {where}, by at most {largest:.6f} nats"
    if parting.equal:
        yield f"  equal: {parting.common} {parting.unit}"
        return
    yield f"  equal for {parting.common} {parting.unit}, then they diverge"
    if model is not None:
        start = model.tokenizer.decode((parting.a.tokens or ())[: parting.common], continuation=True)
        yield f"    {quoted('…' + start[-_BEFORE:] if len(start) > _BEFORE else start)}"
        for name, run in (("A", parting.a), ("B", parting.b)):
            rest = [token for token in (run.tokens or ())[parting.common :] if token < model.tokenizer.size]
            yield f"  {name} {quoted(model.tokenizer.decode(rest[:_AFTER], continuation=True)[:_AFTER])}"
    else:
        for name, run in (("A", parting.a), ("B", parting.b)):
            place = parting.common if parting.unit == "characters" else _common_text(parting)
            text = run.text or ""
            yield f"  {name} {quoted(text[max(0, place - _BEFORE) : place])} | {quoted(text[place : place + _AFTER])}"
    if explanation is not None:
        yield from _logits(explanation, model)


def _logits(explanation: Explanation, model: Any) -> Iterator[str]:
    yield f"  {'rank':>6}  {'logit':>9}  {'p':>8}  token"
    candidates = {candidate.token: candidate for candidate in explanation.top}
    for own in (explanation.a, explanation.b):
        if own is not None:
            candidates.setdefault(own.token, own)
    for candidate in candidates.values():
        marks = "".join(
            name for name, own in (("A", explanation.a), ("B", explanation.b)) if own and own.token == candidate.token
        )
        yield (
            f"  {candidate.rank + 1:>6}  {candidate.logit:>9.4f}  {candidate.probability:>8.5f}  "
            f"{candidate.token} {token_text(model.tokenizer, candidate.token)} {marks}".rstrip()
        )
    if explanation.gap is not None:
        kind = "a near tie" if explanation.near_tie else "no near tie"
        yield f"  the two are {explanation.gap:.4f} logits apart here: {kind}"
    else:
        yield f"  {'A' if explanation.a is None else 'B'} has ended here"


def _common_text(parting: Parting) -> int:
    a, b = parting.a.text or "", parting.b.text or ""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
