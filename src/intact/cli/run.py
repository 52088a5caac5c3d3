"""``intact run``: one prompt, one answer (or several), as it is written."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from intact.catalogue import DEFAULT, is_name, looks_like_path
from intact.cli import fetch
from intact.cli.options import (
    CacheOption,
    ClockNowOption,
    DraftOption,
    JsonOption,
    ModelDefaultsOption,
    ProfileOption,
    ReceiptOption,
    SystemOption,
    ThreadsOption,
    apply_model_defaults,
    as_bytes,
    check_output,
    complete_model,
    with_sampling,
)
from intact.cli.output import emit, note, out, say, token_text
from intact.errors import IntactError, ParameterError
from intact.evaluate.perplexity import SCALE
from intact.text import ChatPrompt
from intact.text.template import current, prepare, read_time

EXAMPLES = """\
A first answer; the default model is fetched once
  intact run "Why is the sky blue?"
Another model: of the catalogue, of a repository on the hub, or by its path
  intact run qwen2.5-coder-0.5b-instruct "Write quicksort in Python." --max-tokens 400
  intact run hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 "Why is the sky blue?"
Five samples, the same ones on any machine
  intact run "Name a colour." -n 5 --temperature 1 --seed 7
The text as it is, without the chat template
  intact run ./model.gguf "Once upon a time" --raw
The prompt from standard input
  git diff | intact run --system "Summarise this change." -
A receipt, by which anybody with the model can verify the answer
  intact run "Why is the sky blue?" --receipt sky.receipt
A digest that is the same everywhere
  intact run "2 + 2 =" --json --logprobs | sha256sum
"""


@with_sampling(max_tokens=512)
def command(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] PROMPT",
            help=f"The prompt (-: from standard input); before it a model, by name or path (by default {DEFAULT}).",
            autocompletion=complete_model,
            show_default=False,
        ),
    ],
    n: Annotated[int, typer.Option("-n", "--n", "--samples", help="Answers to one prompt.")] = 1,
    system: SystemOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Send the text as it is, without the chat template.")] = False,
    logprobs: Annotated[bool, typer.Option("--logprobs", help="Give the log-probability of each token.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Tell the speed on stderr.")] = False,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    draft: DraftOption = True,
    model_defaults: ModelDefaultsOption = False,
    now: ClockNowOption = None,
    receipt: ReceiptOption = None,
    json: JsonOption = False,
    *,
    sampling: dict[str, Any],
) -> None:
    """Answer a prompt, token by token.

    An instruct model gets its chat template. The default model is fetched on first use.
    """
    model_name, prompt = parse(words)
    if raw and system is not None:
        raise ParameterError("--system needs the chat template, which --raw leaves out: use one of the two")
    check_output("--receipt", receipt)
    moment = None if now is None else read_time(now)
    if not raw:
        prepare()
    model = fetch.load(model_name, profile, threads, as_bytes(cache))
    if model_defaults:
        sampling = apply_model_defaults(context, model, sampling)
    request = as_prompt(model, prompt, system, raw, moment)
    started = time.perf_counter()
    options = {**sampling, "draft": draft} | ({"receipt": True} if receipt else {})
    if json or n != 1:
        (completions,) = model.generate(request, n=n, logprobs=logprobs, **options)
        receipts = [one.receipt for one in completions if one.receipt is not None] if receipt else []
        if json:
            emit(_document(model_name, profile, n, sampling, completions))
        else:
            _print_all(model, completions, logprobs)
        count = sum(len(completion.tokens) for completion in completions)
    else:
        chunks = _stream(model, request, logprobs, options)
        count, receipts = len(chunks), [chunks[-1].receipt] if receipt else []
    if receipt:
        from intact.receipts.document import write_receipts

        write_receipts(receipt, receipts)
    if stats:
        seconds = time.perf_counter() - started
        note(f"{count} tokens in {seconds:.2f} s, the prompt included ({count / seconds:.1f} tokens/s)")


def parse(words: list[str]) -> tuple[str, str]:
    """Return (model, prompt) from the arguments: a single one is the prompt for the default model.

    Raises
    ------
    ParameterError
        More than two arguments, a model without a prompt, or a prompt that is empty or not UTF-8.
    """
    if len(words) > 2:
        raise ParameterError(f"run takes [MODEL] PROMPT, got {len(words)} arguments: quote the prompt")
    if len(words) == 1 and (is_name(words[0]) or (looks_like_path(words[0]) and words[0].endswith(".gguf"))):
        raise ParameterError(f'PROMPT is missing: intact run {words[0]} "your prompt", or intact chat {words[0]}')
    model, prompt = words if len(words) == 2 else (DEFAULT, words[0])
    data = sys.stdin.buffer.read() if prompt == "-" else prompt.encode("utf-8", "surrogateescape")
    where = "standard input" if prompt == "-" else "PROMPT"
    text = decode(data, where)
    if not text.strip():
        raise ParameterError(f"{where} is empty: there is nothing to answer")
    return model, text


def decode(data: bytes, where: str) -> str:
    """Return bytes as text.

    Raises
    ------
    ParameterError
        Invalid UTF-8, with the place.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{where} is not valid UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from None


def as_prompt(
    model: Any, prompt: str, system: str | None, raw: bool, now: datetime | None = None
) -> str | ChatPrompt:
    """Return what the engine is given: the text itself, or a conversation for the chat template; `now` by the clock."""
    template = model.tokenizer.chat_template
    if raw or (template is None and system is None):
        return prompt
    if template is None:
        raise ParameterError("this model has no chat template, so --system has no place: write it into the prompt")
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return ChatPrompt(messages, now=now or current())


def _stream(model: Any, request: str | ChatPrompt, logprobs: bool, options: dict[str, Any]) -> list[Any]:
    chunks = []
    try:
        for chunk in model.stream(request, **options):
            say(chunk.text)
            chunks.append(chunk)
    except IntactError:
        if chunks:
            say("\n")
        raise
    say("\n")
    if logprobs:
        _print_logprobs(model, [(chunk.token, chunk.logprob) for chunk in chunks])
    return chunks


def _print_all(model: Any, completions: Any, logprobs: bool) -> None:
    from rich.rule import Rule

    for index, completion in enumerate(completions):
        if index:
            out().print(Rule(style="dim"))
        say(completion.text + "\n")
        if logprobs:
            _print_logprobs(model, list(zip(completion.tokens, completion.logprobs, strict=True)))


def _print_logprobs(model: Any, pairs: list[tuple[int, int]]) -> None:
    for token, logprob in pairs:
        say(f"{logprob / SCALE:12.6f}  {token:7d}  {token_text(model.tokenizer, token)}\n")


def _document(model: str, profile: str, n: int, sampling: dict[str, Any], completions: Any) -> dict[str, Any]:
    """Return the answer as a value; nothing in it may differ from machine to machine."""
    return {
        "model": model,
        "profile": profile,
        "n": n,
        **sampling,
        "prompt_tokens": completions[0].prompt_tokens,
        "logprob_scale": SCALE,
        "completions": [
            {
                "text": completion.text,
                "tokens": list(completion.tokens),
                "logprobs": None if completion.logprobs is None else list(completion.logprobs),
                "finish": completion.finish,
            }
            for completion in completions
        ],
    }
