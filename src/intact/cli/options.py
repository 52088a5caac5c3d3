"""Options shared by several commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_type_hints

import typer

from intact._base.errors import IntactError, ParameterError
from intact._base.files import read_text
from intact._base.memory import parse_size
from intact.checkpoints.catalogue import CATALOGUE, aliases, find
from intact.cli.output import note
from intact.cli.seeds import SeedsOption
from intact.engine.sampling.definitions import Definition, Kind
from intact.engine.sampling.parameters import DEFINITIONS
from intact.executors.names import ExecutorName
from intact.text.template import DEFAULT_NOW


class Advanced(str):
    """Help panel of an option that only `--help-all` shows; empty for the panel Options.

    Mark an option where it is defined: ``typer.Option("--kv", rich_help_panel=Advanced("Loading"))``.
    """

    __slots__ = ()


MEMORY = Advanced("Model and memory")
DRAFTING = Advanced("Speculative decoding")
MACHINES = Advanced("Several machines")
MIXES = Advanced("Mixes of logits")

TASK_HELP = "Task: NAME, NAME:KEY=VALUE,... or FILE.toml (intact tasks)."


Command = Callable[..., None]


def complete_model(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete model names; if none matches, the shell completes files."""
    for name in CATALOGUE:
        if name.startswith(incomplete):
            yield name, "here" if find(name) else "to pull"
    with suppress(IntactError, OSError):  # completion works even with a broken alias file
        for name, place in aliases().items():
            if name.startswith(incomplete):
                yield name, place


Profile: TypeAlias = str


def check_profile(profile: Profile) -> Profile:
    """Return the profile; raise a usage error if it is unknown."""
    if profile not in ("int8", "fp32"):
        from intact.numerics.profiles import parse_profile

        try:
            parse_profile(profile)
        except ParameterError as error:
            raise typer.BadParameter(str(error)) from error
    return profile


ProfileOption = Annotated[
    Profile,
    typer.Option(
        "--profile",
        callback=check_profile,
        metavar="NAME",
        help="Arithmetic: int8 is fast, fp32 is the reference; docs/spec/profiles.md lists the others.",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Number of threads. It only affects the speed.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SystemOption = Annotated[str | None, typer.Option("--system", help="System message.", show_default=False)]
CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="SIZE",
        help="Memory limit of the KV cache, such as 300MB or 2G.",
        rich_help_panel=MEMORY,
        show_default=False,
    ),
]
PrefixCacheOption = Annotated[
    Path | None,
    typer.Option(
        "--prefix-cache",
        metavar="DIR",
        help="Folder that keeps the KV cache of prompts for later runs. It does not change any token.",
        rich_help_panel=MEMORY,
        show_default=False,
    ),
]
PrefixCacheBytesOption = Annotated[
    str | None,
    typer.Option(
        "--prefix-cache-bytes",
        metavar="SIZE",
        help="Size limit of that folder, such as 500MB; the least recently used entries are evicted.",
        rich_help_panel=MEMORY,
        show_default="4G",
    ),
]
DraftOption = Annotated[
    bool,
    typer.Option(
        "--draft/--no-draft",
        help="Use speculative decoding where it is faster. It does not change any token.",
        rich_help_panel=DRAFTING,
    ),
]


def complete_drafter(incomplete: str) -> list[str]:
    """Complete drafter names."""
    from intact.engine.drafting import describe_drafters

    names = (one["name"] for one in describe_drafters() if one["chosen_by"] == "drafter")
    return [name for name in names if name.startswith(incomplete)]


DrafterOption = Annotated[
    str | None,
    typer.Option(
        "--drafter",
        metavar="NAME",
        help="Drafter, such as lookup, heads or off (intact info --drafters). It does not change any token.",
        rich_help_panel=DRAFTING,
        autocompletion=complete_drafter,
        show_default="auto",
    ),
]
DraftModelOption = Annotated[
    str | None,
    typer.Option(
        "--draft-model",
        metavar="MODEL",
        help="Draft model: a smaller one with the same vocabulary, or an EAGLE-3 head. It does not change any token.",
        rich_help_panel=DRAFTING,
        autocompletion=complete_model,
        show_default=False,
    ),
]


def complete_codec(incomplete: str) -> list[str]:
    """Complete codec names."""
    from intact.numerics.kv_codecs import CODECS

    return [name for name in CODECS if name.startswith(incomplete)]


def check_codec(kv: str | None) -> str | None:
    """Return the name of a codec; raise a usage error if it is unknown."""
    if kv is not None:
        from intact.numerics.profiles import with_codec

        try:
            with_codec("int8", kv)
        except ParameterError as error:
            raise typer.BadParameter(str(error)) from error
    return kv


KvOption = Annotated[
    str | None,
    typer.Option(
        "--kv",
        callback=check_codec,
        metavar="CODEC",
        help="Codec of the KV cache, to use fewer bits (intact info --codecs). It changes tokens; receipts record it.",
        rich_help_panel=MEMORY,
        autocompletion=complete_codec,
        show_default=False,
    ),
]


def coded(profile: Profile, kv: str | None) -> Profile:
    """Return a profile combined with the codec of `--kv`, or unchanged without one.

    Raises
    ------
    ParameterError
        If the profile does not support codecs, or already names a different one.
    """
    if kv is None:
        return profile
    from intact.numerics.profiles import with_codec

    return with_codec(profile, kv)


TensorParallelOption = Annotated[
    str | None,
    typer.Option(
        "--tensor-parallel",
        metavar="N",
        help="Tensor parallelism: a number of processes, or addresses such as here*3,HOST:PORT (docs/cluster.md). It "
        "does not change any bit.",
        rich_help_panel=MACHINES,
        show_default=False,
    ),
]
PipelineParallelOption = Annotated[
    str | None,
    typer.Option(
        "--pipeline-parallel",
        metavar="N",
        help="Pipeline parallelism: a number of processes, or addresses such as here*3,HOST:PORT (docs/cluster.md). It "
        "does not change any bit.",
        rich_help_panel=MACHINES,
        show_default=False,
    ),
]
PrefillOption = Annotated[
    str | None,
    typer.Option(
        "--prefill",
        metavar="HOST:PORT",
        help="Address of an intact shard that computes prompts, or local for a process on this machine "
        "(docs/cluster.md). It does not change any bit.",
        rich_help_panel=MACHINES,
        show_default=False,
    ),
]
ExecutorOption = Annotated[
    ExecutorName,
    typer.Option(
        "--executor",
        help="Where steps run: native is the CPU, wgpu a GPU (docs/gpu.md), auto a GPU if one works, else the CPU; "
        "reference is the slow definition. It only affects the speed.",
        rich_help_panel=MEMORY,
    ),
]
GpuMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--gpu-memory",
        metavar="SIZE",
        help="Maximum memory of the GPU to use, such as 8GB (docs/gpu.md).",
        rich_help_panel=MEMORY,
        show_default=False,
    ),
]
RecheckOption = Annotated[
    int | None,
    typer.Option(
        "--recheck",
        metavar="N",
        min=1,
        help="With a GPU, compute one row of every Nth step again on the CPU, and fail if it differs.",
        rich_help_panel=MEMORY,
        show_default=False,
    ),
]
WeightsMemoryOption = Annotated[
    str | None,
    typer.Option(
        "--weights-memory",
        metavar="SIZE",
        help="Memory limit of the weights, such as 2GB, for models that are larger: they are read from disk as "
        "needed (docs/engine.md). It does not change any bit.",
        rich_help_panel=MEMORY,
        show_default=False,
    ),
]
AdapterOption = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        metavar="PATH",
        help="LoRA adapter: a PEFT folder or a GGUF file (docs/adapters.md).",
        rich_help_panel=MEMORY,
        show_default=False,
    ),
]

# Options of methods; the method's default applies to any that is not given.
NOption = Annotated[
    int | None, typer.Option("-n", "--n", metavar="N", help="Number of samples (--set n=N).", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Parameter of the method; repeatable."),
]
WithOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=MODEL",
        help="Another model, for methods that use two; repeatable.",
        rich_help_panel=Advanced(),
        show_default=False,
    ),
]
ContinuesOption = Annotated[
    Literal["no", "vllm", "prefill"],
    typer.Option("--continues", help="How an endpoint continues a partial answer.", rich_help_panel=Advanced()),
]
MixOption = Annotated[
    str | None,
    typer.Option(
        "--mix",
        metavar="NAME[:PARAMETER=NUMBER,...]",
        help="Mix of several logit rows to sample from, such as guidance:scale=2 (docs/mixing.md).",
        rich_help_panel=MIXES,
        show_default=False,
    ),
]
ShadowOption = Annotated[
    str | None,
    typer.Option(
        "--shadow",
        metavar="PROMPT",
        help="Second prompt, for mixes that use one.",
        rich_help_panel=MIXES,
        show_default=False,
    ),
]
PartnerModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--partner",
        metavar="MODEL",
        help="Another model, for mixes that use one; repeatable.",
        rich_help_panel=MIXES,
        show_default=False,
    ),
]
PartnerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=MODEL",
        help="Another model, for mixes that use one; repeatable.",
        rich_help_panel=MIXES,
        show_default=False,
    ),
]


def mix_options(
    mix: str | None, shadow: str | None, others: list[str] | None, option: str = "--with", **excluded: object
) -> dict[str, Any]:
    """Return the `mix` argument of `Model.generate` for `--mix`, validated before a model is loaded.

    Parameters
    ----------
    others, option
        The values that name the partner models, and the option that gave them.
    **excluded
        Options that cannot be combined with a mix, by name; None for those not given.

    Raises
    ------
    ParameterError
        If the mix is unknown, lacks its shadow or a partner, has an unexpected one, or an excluded option is given.
    """
    if mix is None and shadow is None and not others:
        return {}
    from intact.engine.mixes import check_partners, check_shadow, chosen_mix, read_mix

    given = None if mix is None else read_mix(mix)
    chosen = None if given is None else chosen_mix(given)
    check_shadow(chosen, shadow is not None)
    count = len(others or ())
    if chosen is None:
        raise ParameterError(f"{option} names a model for a mix, but no mix is given: add --mix NAME")
    check_partners(chosen, count)
    if count > (takes := chosen.mix.streams.count("partner")):
        named = f"{option} names {count} model{'s' * (count > 1)}"
        raise ParameterError(f"{named}, but the mix {chosen.mix.name} takes {takes}")
    for name, value in excluded.items():
        if value is not None:
            raise ParameterError(f"--{name.replace('_', '-')} cannot be combined with --mix (docs/mixing.md)")
    return {"mix": given}


ReceiptOption = Annotated[
    Path | None,
    typer.Option(
        "--receipt", metavar="FILE", help="Write a receipt for each answer (intact verify).", show_default=False
    ),
]


ModelDefaultsOption = Annotated[
    bool,
    typer.Option("--model-defaults", help="Use the sampling defaults from the model's files."),
]


_NOW = "Date and time for chat templates that use them, such as 2026-11-20T17:45:00."
FixedNowOption = Annotated[
    str | None,
    typer.Option("--now", metavar="TIME", help=_NOW, rich_help_panel=Advanced(), show_default=DEFAULT_NOW.isoformat()),
]
ThinkingOption = Annotated[
    str | None,
    typer.Option(
        "--thinking",
        metavar="on|off|N",
        help="Turn thinking on or off (the chat template's switch); N: limit it to N tokens per completion.",
        rich_help_panel=Advanced(),
        show_default="chat template's default",
    ),
]
TaskSystemOption = Annotated[
    str | None,
    typer.Option(
        "--system", help="System message before each question.", rich_help_panel=Advanced(), show_default=False
    ),
]
ClockNowOption = Annotated[
    str | None,
    typer.Option("--now", metavar="TIME", help=_NOW, rich_help_panel=Advanced(), show_default="current time"),
]


def check_output(option: str, path: Path | None) -> None:
    """Raise, before anything runs, if a file could not be written.

    Parameters
    ----------
    option
        The option that names the file, such as ``--receipt``.
    path
        The file; None if none is requested.

    Raises
    ------
    ParameterError
        If the folder is missing, or the path is a folder.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ParameterError(f"{option}: {path} cannot be written; expected a file in an existing folder")


_TYPES: dict[Kind, Any] = {"integer": int, "decimal": float, "flag": bool, "stops": list[str], "biases": list[str]}
_METHOD_HELP = {
    "max_tokens": "Maximum tokens of a text, or of a step in searches; by default 512, or the method's.",
    "temperature": "Sampling temperature; by default the method's.",
}
"""Help texts of options for which methods have their own defaults."""
_FIRST = {"max_tokens", "min_tokens"}
_LAST = {"seed", "stop", "json_schema", "regex", "grammar"}
"""Order of the options in the help and of the fields in `--json`, whose digests users compare; newer parameters appear
in the JSON only if they are given.
"""


def _option(name: str, definition: Definition, default: Any, help: str) -> tuple[Any, Any]:  # noqa: A002
    """Return the type and default of the command argument for a sampling parameter; None means not given."""
    kind, default = _TYPES.get(definition.kind, str), None if default == () else default
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        metavar=definition.metavar or None,
        help=help,
        rich_help_panel="Sampling" if definition.common else Advanced("Sampling"),
        show_default=default is not None,
    )
    return Annotated[kind | None if default is None else kind, option], default


def with_sampling(**defaults: Any) -> Callable[[Command], Command]:
    """Add the sampling options to a command, which receives them as a single mapping in its argument `sampling`.

    The seed is passed as a string that names one or several seeds (`intact.cli.seeds`).

    Parameters
    ----------
    **defaults
        Defaults that differ from the usual ones.
    """
    usual = {name: None if one.later else one.default for name, one in DEFINITIONS.items()} | defaults
    options = {
        name: _option(name, DEFINITIONS[name], usual[name], DEFINITIONS[name].help)
        for name in sorted(DEFINITIONS, key=lambda name: (name in _LAST, name not in _FIRST))
        if DEFINITIONS[name].help
    }
    options["seed"] = (SeedsOption, str(usual["seed"]))
    return lambda command: _with_groups(command, _Group(options, _collect))


def apply_model_defaults(context: typer.Context, model: Any, sampling: dict[str, Any]) -> dict[str, Any]:
    """Fill in the sampling options that were not given with the recommendations in the model's files.

    Parameters
    ----------
    context
        The command's context, which knows the options that were given.
    model
        The loaded model.
    sampling
        The options collected by `with_sampling`.
    """
    found = model.sampling_defaults
    used = {name: value for name, value in found.values if not was_given(context, name)}
    settings = ", ".join(f"{name} {value:g}" for name, value in used.items())
    note(f"{found.source or 'the model'} recommends {settings or 'nothing that is used'}")
    return sampling | used


def was_given(context: typer.Context, name: str) -> bool:
    """Return true if an option was given rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def with_method_sampling(command: Command) -> Command:
    """Add the sampling options that methods accept to a command; those given are passed in its argument `sampling`."""
    sampling = {
        name: _option(name, one, None, _METHOD_HELP.get(name, one.help))
        for name, one in DEFINITIONS.items()
        if one.methods
    }
    return _with_groups(command, _Group(sampling, _given))


class _Group(NamedTuple):
    """A set of options with types and defaults, and a function that combines them into one argument of a command."""

    options: dict[str, tuple[Any, Any]]
    make: Callable[..., Any]


def _with_groups(command: Command, sampling: _Group) -> Command:
    """Replace grouped arguments of a command with the options of their groups.

    The groups are its argument `sampling`, and each argument whose type is a dataclass: every field becomes an option,
    with the annotation and default that Typer expects of parameters.
    """
    groups, options = {"sampling": sampling}, dict[str, tuple[Any, Any]]()
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind: Any = parameter.annotation
        if is_dataclass(parameter.annotation):
            hints = get_type_hints(kind, include_extras=True)
            own = {field.name: (hints[field.name], field.default) for field in fields(kind)}
            groups[name] = _Group(own, kind)
        options |= groups[name].options if name in groups else {name: (kind, parameter.default)}

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        made = {name: make(**{option: given.pop(option) for option in own}) for name, (own, make) in groups.items()}
        command(**given, **made)

    return with_signature(wrapped, options)


def with_signature(command: Command, options: dict[str, tuple[Any, Any]]) -> Command:
    """Set a command's signature, from which Typer reads the parameters with their types and defaults."""
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in options.items()
        ]
    )
    command.__annotations__ = {name: kind for name, (kind, _) in options.items()}
    return command


def _given(**options: Any) -> dict[str, Any]:
    """Return the result of `_collect`, without empty stop strings."""
    return {name: value for name, value in _collect(**options).items() if value != ()}


def _collect(**given: Any) -> dict[str, Any]:
    """Return the given parameters of `generate` as plain values, with file names replaced by the files' contents."""
    given["stop"] = _stops(given["stop"])
    if bias := given.pop("logit_bias", None):
        given["logit_bias"] = dict(map(_bias, bias))
    for name in ("json_schema", "grammar"):
        if (value := given.pop(name, None)) is not None:
            given[name] = _text_or_file(value)
    return {name: value for name, value in given.items() if value is not None}


def _stops(texts: list[str] | None) -> tuple[str, ...]:
    """Return the stop strings as typed, except that a backslash followed by n becomes a line feed."""
    return tuple([text.replace("\\n", "\n") for text in texts or ()])


def _bias(text: str) -> tuple[int, float]:
    token, _, amount = text.partition("=")
    try:
        return int(token), float(amount)
    except ValueError:
        raise ParameterError(f"--logit-bias must be TOKEN=NUMBER, such as 11=-2.5, got {text!r}") from None


_TEXT_FILES = {".json", ".lark", ".txt"}
"""File name endings that mark a value as a file, even if that file does not exist."""


def _text_or_file(value: str) -> str:
    path = Path(value)
    if "\n" in value or "{" in value or not (path.suffix in _TEXT_FILES or path.is_file()):
        return value
    return read_text(path, ParameterError)


def as_bytes(size: str | None, option: str = "--cache") -> int | None:
    """Parse a size such as 300MB, 2G or 1048576 as bytes; `option` is the option that gave it.

    Raises
    ------
    ParameterError
        If the size is invalid.
    """
    return None if size is None else parse_size(size, option)


def prefix_cache_options(folder: Path | None, size: str | None) -> dict[str, Any]:
    """Return the arguments of `intact.load` for `--prefix-cache` and `--prefix-cache-bytes`.

    Raises
    ------
    ParameterError
        If the size is invalid, or is given without a folder.
    """
    limit = as_bytes(size, "--prefix-cache-bytes")
    if folder is None and limit is not None:
        raise ParameterError("--prefix-cache-bytes limits a folder, but no folder is given: add --prefix-cache DIR")
    return {} if folder is None else {"prefix_cache": folder, "prefix_cache_bytes": limit}


def pair(text: str, option: str = "--with") -> tuple[str, str]:
    """Split NAME=MODEL into the name and the model; `option` is the option that gave it.

    Raises
    ------
    ParameterError
        If the value has a different form.
    """
    name, equals, model = text.partition("=")
    if not name or not equals or not model:
        examples = {"--adapter": "NAME=PATH, such as sql=./sql-lora"}
        what = examples.get(option, "NAME=MODEL, such as large=qwen2.5-coder-1.5b-instruct")
        raise ParameterError(f"{option} must be {what}, got {text!r}")
    return name, model
