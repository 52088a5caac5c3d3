"""``intact run``: answer one prompt, once or several times, streaming the text."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from intact._base.errors import IntactError, ParameterError
from intact.checkpoints.catalogue import DEFAULT
from intact.cli.loading import LoadOptions
from intact.cli.model_option import model_option, names_model
from intact.cli.opening import NoServerOption, VerboseOption, open_model
from intact.cli.options import (
    Advanced,
    ClockNowOption,
    DraftOption,
    JsonOption,
    MixOption,
    ModelDefaultsOption,
    PartnerOption,
    PrefillOption,
    ReceiptOption,
    ShadowOption,
    SystemOption,
    apply_model_defaults,
    check_output,
    complete_model,
    mix_options,
    pair,
    with_sampling,
)
from intact.cli.output import emit, note, note_old_form, out, say, show, token_text
from intact.cli.recording import LoggedAnswer, NoLogOption, begin_log, logged_answer
from intact.cli.seeds import parse_seeds
from intact.engine.sampling.parameters import SamplingParameters
from intact.text import ChatPrompt
from intact.text.template import current, read_time

EXAMPLES = """\
A first answer; the default model is fetched once
  intact run "Why is the sky blue?"
Another model: from the catalogue, from a repository on the hub, or by path
  intact run -m qwen2.5-coder-0.5b-instruct "Write quicksort in Python." --max-tokens 400
  intact run -m hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 "Why is the sky blue?"
Five samples, the same ones on any machine
  intact run "Name a colour." -n 5 --temperature 1 --seed 7
Raw text, without the chat template
  intact run -m ./model.gguf "Once upon a time" --raw
The prompt from standard input, or a prompt followed by piped text
  echo "Why is the sky blue?" | intact run
  git diff | intact run "Summarise this change."
Classifier-free guidance, away from the answer to another prompt
  intact run "Write a poem." --mix guidance:scale=2 --shadow "Write."
A receipt, with which anyone who has the model can verify the answer
  intact run "Why is the sky blue?" --receipt sky.receipt
A digest that is the same everywhere
  intact run "2 + 2 =" --json --logprobs | sha256sum
"""


PromptArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PROMPT]",
        help="The prompt. Piped text is appended to it, or replaces it if it is missing.",
        autocompletion=complete_model,
        show_default=False,
    ),
]


@with_sampling(max_tokens=512)
def command(
    context: typer.Context,
    words: PromptArgument = None,
    named: Annotated[str | None, model_option(show_default=DEFAULT)] = None,
    n: Annotated[int, typer.Option("-n", "--n", "--samples", help="Number of samples.")] = 1,
    system: SystemOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Use the prompt as is, without the chat template.")] = False,
    logprobs: Annotated[bool, typer.Option("--logprobs", help="Print the log-probability of each token.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print the speed to stderr.")] = False,
    *,
    loading: LoadOptions,
    prefill: PrefillOption = None,
    draft: DraftOption = True,
    model_defaults: ModelDefaultsOption = False,
    now: ClockNowOption = None,
    control_tokens: Annotated[
        bool,
        typer.Option(
            "--control-tokens",
            help="Parse control tokens in the prompt, such as <|im_end|>, as tokens rather than text.",
            rich_help_panel=Advanced(),
        ),
    ] = False,
    mix: MixOption = None,
    shadow: ShadowOption = None,
    others: PartnerOption = None,
    receipt: ReceiptOption = None,
    no_server: NoServerOption = False,
    no_log: NoLogOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
    sampling: dict[str, Any],
) -> None:
    """Answer a prompt, token by token.

    Instruct models use their chat template. The default model is fetched on first use.
    """
    model_name, prompt = parse(words or [], named)
    if raw and system is not None:
        raise ParameterError("--system needs the chat template, but --raw leaves it out: use only one of the two")
    if raw and control_tokens:
        raise ParameterError("--raw already parses control tokens as tokens: leave out --control-tokens")
    check_output("--receipt", receipt)
    seeds = parse_seeds(sampling["seed"])
    for seed in seeds:
        SamplingParameters.by_name(sampling | {"seed": seed})
    mixed = mix_options(mix, shadow, others, **loading.without_mix)
    partners = [model for _, model in map(pair, others or [])]
    moment = None if now is None else read_time(now)
    opened = open_model(
        model_name,
        loading,
        prefill=prefill,
        use_server=not no_server,
        verbose=verbose,
        has_template=not raw,
        mixed=mix is not None,
        partners=partners,
    )
    unlogged = no_log or mix is not None or loading.adapter is not None
    model, log = opened.model, begin_log("run", opened, model_name, off=unlogged)
    if model_defaults:
        sampling = apply_model_defaults(context, model, sampling)
    prompts = [
        as_prompt(model, text, system, raw, now=moment, control_tokens=control_tokens)
        for text in (prompt, shadow)
        if text is not None
    ]
    request = prompts[0]
    if shadow is not None:
        mixed["shadow"] = prompts[1]
    options = {"draft": draft, **mixed} | ({"receipt": True} if receipt else {})
    fields = {"mix": mixed["mix"], "shadow": shadow} if mixed else {}
    receipts, documents = list[Any](), list[dict[str, Any]]()
    count, seconds = 0, 0.0
    for seed in seeds:
        drawn, answers = sampling | {"seed": seed}, list[LoggedAnswer]()
        started = time.perf_counter()
        if len(seeds) > 1 and not json:
            show(f"seed {seed}", style="bold")
        try:
            if json or n != 1:
                (completions,) = model.generate(request, n=n, logprobs=logprobs, **drawn, **options)
                answers = [LoggedAnswer(one.text, one.tokens, one.finish) for one in completions]
                receipts += [one.receipt for one in completions if one.receipt is not None] if receipt else []
                if json:
                    documents.append(
                        _document(model_name, loading.coded_profile, n, {**drawn, **fields}, completions=completions)
                    )
                else:
                    _print_all(model, completions, logprobs)
            else:
                receipts += _stream(model, request, logprobs, drawn | options, answers=answers)
        finally:
            taken = time.perf_counter() - started
            if log is not None and answers:
                log.add(request, drawn, answers, taken)
        count, seconds = count + sum(len(answer.tokens) for answer in answers), seconds + taken
    if json:
        emit(documents if len(seeds) > 1 else documents[0])
    if receipt:
        from intact.receipts.document import write_receipts

        write_receipts(receipt, receipts)
    if stats:
        note(f"{count} tokens in {seconds:.2f} s, the prompt included ({count / seconds:.1f} tokens/s)")


def parse(words: list[str], model: str | None = None, command: str = "run") -> tuple[str, str]:
    """Return (model, prompt) from the arguments, and from standard input unless it is a terminal.

    Piped text is appended to a given prompt after an empty line. In the old form, the model is the first of two
    arguments, or the only argument if the prompt is piped in.

    Parameters
    ----------
    model : str, optional
        The model named by the option -m.
    command : str
        The command's name, for error messages.

    Raises
    ------
    ParameterError
        If there is more than one prompt, two models, no prompt, or a prompt that is empty or not UTF-8.
    """
    if len(words) > (2 if model is None else 1):
        if model is not None and names_model(words[0]):
            raise ParameterError(f"intact {command} got two models, {model!r} from -m and {words[0]!r}: give only one")
        raise ParameterError(f"{command} takes one prompt, got {len(words)} arguments: quote the prompt")
    named = model is None and len(words) == 1 and names_model(words[0])
    if model is None and (named or len(words) == 2):
        model = words[0]
        note_old_form(f"intact {command} {model}", f"intact {command} -m {model}" + " PROMPT" * (not named))
    given_model, model = "" if model is None else f" -m {model}", DEFAULT if model is None else model
    if not model.strip():
        raise ParameterError("MODEL is empty: give a name, a path, or the prompt alone")
    given = None if named or not words or words[-1] == "-" else words[-1]
    if given is not None:
        given = decode(given.encode("utf-8", "surrogateescape"), "PROMPT")
        if not given.strip():
            raise ParameterError("PROMPT is empty: there is nothing to answer")
    elif sys.stdin.isatty() and words[-1:] != ["-"]:
        or_chat = f", or intact chat{given_model}" if command == "run" else ""
        raise ParameterError(f'PROMPT is missing: intact {command}{given_model} "your prompt"{or_chat}')
    piped = _piped_text(wait=given is None)
    if given is None and not piped.strip():
        raise ParameterError("standard input is empty: there is nothing to answer")
    return model, piped if given is None else f"{given}\n\n{piped}" if piped.strip() else given


_PATIENCE = 2.0
"""Seconds to wait for the end of standard input before reporting that it is being read."""


def _piped_text(wait: bool) -> str:
    """Return the content of standard input.

    Parameters
    ----------
    wait : bool
        If false, a prompt is already given, so only a pipe or a file is read, never input that could block forever.
    """
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
        brings = stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
    except (AttributeError, OSError, ValueError):  # not a file: absent, closed, or in memory
        brings = isinstance(sys.stdin, io.TextIOWrapper) and not sys.stdin.closed
    if not (wait or brings):
        return ""
    remark = threading.Timer(_PATIENCE, lambda: note("reading standard input (</dev/null if there is none)"))
    remark.daemon = True
    remark.start()
    try:
        return decode(sys.stdin.buffer.read(), "standard input")
    finally:
        remark.cancel()


def decode(data: bytes, where: str) -> str:
    """Decode bytes as UTF-8.

    Raises
    ------
    ParameterError
        If the bytes are not valid UTF-8; the message gives the offset.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{where} is not valid UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from None


def as_prompt(
    model: Any,
    prompt: str,
    system: str | None,
    raw: bool,
    now: datetime | None = None,
    control_tokens: bool = False,
) -> str | ChatPrompt:
    """Return the engine's input: raw text, or a conversation for the chat template; `now` defaults to the present."""
    template = model.tokenizer.chat_template
    if raw or (template is None and system is None):
        return prompt
    if template is None:
        raise ParameterError("this model has no chat template for --system: write the message into the prompt")
    messages = [{"role": "user", "content": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return ChatPrompt(messages, now=now or current(), control_tokens=control_tokens)


def _stream(
    model: Any, request: str | ChatPrompt, logprobs: bool, options: dict[str, Any], answers: list[LoggedAnswer]
) -> list[Any]:
    """Stream an answer to stdout, and add it to `answers` even if it is cut short; return any requested receipt."""
    chunks: list[Any] = []
    try:
        for chunk in model.stream(request, **options):
            say(chunk.text)
            chunks.append(chunk)
    except (IntactError, KeyboardInterrupt, BrokenPipeError) as error:
        answers += [logged_answer(chunks)] * bool(chunks)
        if chunks and isinstance(error, IntactError):
            say("\n")
        raise
    say("\n")
    answers.append(logged_answer(chunks))
    if logprobs:
        _print_logprobs(model, [(chunk.token, chunk.logprob) for chunk in chunks])
    return [chunks[-1].receipt] if "receipt" in options else []


def _print_all(model: Any, completions: Any, logprobs: bool) -> None:
    from rich.rule import Rule

    for index, completion in enumerate(completions):
        if index:
            out().print(Rule(style="dim"))
        say(completion.text + "\n")
        if logprobs:
            _print_logprobs(model, list(zip(completion.tokens, completion.logprobs, strict=True)))


def _print_logprobs(model: Any, pairs: list[tuple[int, int]]) -> None:
    from intact.numerics.sampling import LOGPROB_SCALE

    for token, logprob in pairs:
        say(f"{logprob / LOGPROB_SCALE:12.6f}  {token:7d}  {token_text(model.tokenizer, token)}\n")


def _document(model: str, profile: str, n: int, sampling: dict[str, Any], completions: Any) -> dict[str, Any]:
    """Return the answer as a JSON value that is the same on every machine."""
    from intact.numerics.sampling import LOGPROB_SCALE

    return {
        "model": model,
        "profile": profile,
        "n": n,
        **sampling,
        "prompt_tokens": completions[0].prompt_tokens,
        "logprob_scale": LOGPROB_SCALE,
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
