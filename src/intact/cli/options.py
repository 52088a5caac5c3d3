"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from intact.catalogue import CATALOGUE, find
from intact.clock import DEFAULT_NOW
from intact.errors import ParameterError


def complete_model(incomplete: str) -> Iterator[tuple[str, str]]:
    """Offer the catalogue's names; where none fits, the shell offers files."""
    for name in CATALOGUE:
        if name.startswith(incomplete):
            yield name, "here" if find(name) else "to pull"


Profile = Literal["int8", "fp32"]

ProfileOption = Annotated[
    Profile,
    typer.Option("--profile", help="Arithmetic: int8 is fast, fp32 the yardstick. Each gives the same bits anywhere."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="By default INTACT_THREADS, else all cores; they change the speed alone.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="System message, before the prompt.", show_default=False)
]
CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache", metavar="SIZE", help="Most memory for the KV cache, such as 300MB or 2G.", show_default=False
    ),
]
DraftOption = Annotated[
    bool, typer.Option("--draft/--no-draft", help="Guess ahead where that is faster. It changes no token.")
]

# Of methods; what is not given is as the method prefers.
NOption = Annotated[int | None, typer.Option("-n", "--n", help="The same as --set n=N.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the method; may be given again."),
]
WithOption = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME=MODEL", help="Another model, for methods that use two.", show_default=False),
]
ContinuesOption = Annotated[
    Literal["no", "vllm", "prefill"], typer.Option("--continues", help="How endpoints go on from an answer.")
]
ReceiptOption = Annotated[
    Path | None,
    typer.Option(
        "--receipt", metavar="FILE", help="Write a receipt of each answer, for intact verify.", show_default=False
    ),
]


_NOW = "The time that a chat template is told which writes the date, such as 2026-11-20T17:45:00."
FixedNowOption = Annotated[
    str | None, typer.Option("--now", metavar="TIME", help=_NOW, show_default=DEFAULT_NOW.isoformat())
]
ClockNowOption = Annotated[str | None, typer.Option("--now", metavar="TIME", help=_NOW, show_default="the clock")]


def check_output(option: str, path: Path | None) -> None:
    """Refuse a file that could not be written, before anything runs.

    Parameters
    ----------
    option
        What names the file, such as ``--receipt``.
    path
        The file; None where none is wanted.

    Raises
    ------
    ParameterError
        If its folder is missing, or it is a folder.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ParameterError(f"{option}: {path} cannot be written; expected a file in a folder that is there")


_PANEL = "Sampling"


def _option(kind: Any, name: str, default: Any, help: str, **more: Any) -> tuple[Any, Any]:  # noqa: A002
    return Annotated[kind, typer.Option(name, help=help, rich_help_panel=_PANEL, **more)], default


Command = Callable[..., None]
_HIDDEN: dict[str, Any] = {"show_default": False}
_SAMPLING: dict[str, tuple[Any, Any]] = {
    "max_tokens": _option(int, "--max-tokens", 512, "Tokens to generate at most."),
    "min_tokens": _option(int, "--min-tokens", 0, "No end token before this many."),
    "temperature": _option(float, "--temperature", 0.0, "0: the likeliest token; 1: sample as trained."),
    "top_p": _option(float, "--top-p", 1.0, "Sample from the likeliest that hold this probability."),
    "top_k": _option(int, "--top-k", 0, "Sample from this many likeliest tokens; 0: all."),
    "min_p": _option(float, "--min-p", 0.0, "Leave out those below this share of the likeliest."),
    "typical_p": _option(float, "--typical-p", 1.0, "Sample from the most typical that hold this probability."),
    "repetition_penalty": _option(float, "--repetition-penalty", 1.0, "Above 1: avoid tokens of prompt and answer."),
    "presence_penalty": _option(float, "--presence-penalty", 0.0, "Above 0: avoid tokens of the answer."),
    "frequency_penalty": _option(float, "--frequency-penalty", 0.0, "The same, for each time a token came up."),
    "logit_bias": _option(
        list[str] | None, "--logit-bias", None, "Add NUMBER to a token's logit.", metavar="TOKEN=NUMBER", **_HIDDEN
    ),
    "seed": _option(int, "--seed", 0, "Another seed, another sample; the same seed, the same bits."),
    "stop": _option(
        list[str] | None, "--stop", None, "End before this text (\\n: a line feed); again for more.", **_HIDDEN
    ),
    "json_schema": _option(
        str | None, "--json-schema", None, "Answer in JSON that fits: a file, or the schema itself.", **_HIDDEN
    ),
    "regex": _option(str | None, "--regex", None, "Answer in text that matches the whole expression.", **_HIDDEN),
    "grammar": _option(str | None, "--grammar", None, "Answer by a Lark grammar: a file, or the text.", **_HIDDEN),
}


# Of a method, which has defaults of its own.
_WISHES: dict[str, tuple[Any, Any]] = {
    "max_tokens": _option(
        int | None, "--max-tokens", None, "Of one extension at most: 512, unless the method says otherwise.", **_HIDDEN
    ),
    "temperature": _option(float | None, "--temperature", None, "By default as the method prefers.", **_HIDDEN),
    "top_p": _option(float | None, "--top-p", None, "Sample from the likeliest that hold this probability.", **_HIDDEN),
    "top_k": _option(int | None, "--top-k", None, "Sample from this many likeliest tokens.", **_HIDDEN),
    "min_p": _option(float | None, "--min-p", None, "Leave out those below this share of the likeliest.", **_HIDDEN),
    "stop": _option(
        list[str] | None,
        "--stop",
        None,
        "What ends an answer, such as '\\nQuestion:'; may be given again.",
        **_HIDDEN,
    ),
}


def with_sampling(**defaults: Any) -> Callable[[Command], Command]:
    """Give a command the options of sampling; they reach it as one mapping, its argument `sampling`.

    Parameters
    ----------
    **defaults
        Those that differ from the ordinary ones.
    """
    options = {name: (kind, defaults.get(name, default)) for name, (kind, default) in _SAMPLING.items()}
    return lambda command: _with(options, _collect, command)


def with_wishes(command: Command) -> Command:
    """Give a command the options of sampling that a method heeds; what is given reaches it as `sampling`."""
    return _with(_WISHES, _given, command)


def _with(
    options: dict[str, tuple[Any, Any]], collect: Callable[[dict[str, Any]], dict[str, Any]], command: Command
) -> Command:
    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in options.items()
    ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        sampling = collect({name: given.pop(name) for name in options})
        command(**given, sampling=sampling)

    before = [p.replace(kind=p.KEYWORD_ONLY) for p in own.parameters.values() if p.name != "sampling"]
    wrapped.__signature__ = own.replace(parameters=before + added)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in before + added}
    return wrapped


def _given(wishes: dict[str, Any]) -> dict[str, Any]:
    wishes["stop"] = _stops(wishes["stop"]) or None
    return {name: value for name, value in wishes.items() if value is not None}


def _collect(given: dict[str, Any]) -> dict[str, Any]:
    """Parameters of `generate`, as plain values: files read, what was not given left out."""
    given["stop"] = _stops(given["stop"])
    if bias := given.pop("logit_bias"):
        given["logit_bias"] = dict(map(_bias, bias))
    for name in ("json_schema", "grammar"):
        if (value := given.pop(name)) is not None:
            given[name] = _text_or_file(value)
    return {name: value for name, value in given.items() if value is not None}


def _stops(texts: list[str] | None) -> tuple[str, ...]:
    """Stop strings as they are typed: a backslash and n are a new line."""
    return tuple([text.replace("\\n", "\n") for text in texts or ()])


def _bias(text: str) -> tuple[int, float]:
    token, _, amount = text.partition("=")
    try:
        return int(token), float(amount)
    except ValueError:
        raise ParameterError(f"--logit-bias takes TOKEN=NUMBER, such as 11=-2.5, got {text!r}") from None


_TEXT_FILES = {".json", ".lark", ".txt"}
"""What is named like this is a file, be it there or not."""


def _text_or_file(value: str) -> str:
    path = Path(value)
    try:
        if "\n" in value or "{" in value or not (path.suffix in _TEXT_FILES or path.is_file()):
            return value
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ParameterError(f"{value} cannot be read: {error}") from error
    except OSError as error:
        raise ParameterError(f"{value} cannot be read: {error.strerror or error}") from error


def as_bytes(size: str | None, option: str = "--cache") -> int | None:
    """A size such as 300MB, 2G or 1048576; `option` is what it was given by.

    Raises
    ------
    ParameterError
        If it is no size.
    """
    if size is None:
        return None
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmgt]?)(i?)b?", size.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise ParameterError(f"{option} takes a size such as 300MB, 2G or 1048576, got {size!r:.60}")
    power = " kmgt".index(found[2].lower() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def pair(text: str) -> tuple[str, str]:
    """NAME=MODEL, as --with has it.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    name, equals, model = text.partition("=")
    if not name or not equals or not model:
        raise ParameterError(f"--with takes NAME=MODEL, such as large=qwen2.5-coder-1.5b-instruct, got {text!r}")
    return name, model
