"""The application: registers the commands and handles errors, Ctrl-C and closed pipes."""

from __future__ import annotations

import copy
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import intact
from intact._base.errors import IntactError
from intact._base.files import named_errors
from intact.checkpoints.catalogue import is_name, looks_like_path
from intact.cli import (
    INTERRUPTED,
    audit,
    bench,
    cassette,
    chat,
    check,
    deduce,
    diff,
    doctor,
    embed,
    info,
    judge,
    keys,
    lab,
    learn,
    lock,
    logs,
    mcp,
    meter,
    methods,
    models,
    page,
    perplexity,
    plan,
    prove,
    pull,
    quantize,
    receipt,
    receipt_layers,
    report,
    rerank,
    run,
    selftest,
    serve,
    shard,
    solve,
    steer,
    superposed,
    sweep,
    tasks,
    trace,
    traffic,
    train,
    tune,
    verify,
)
from intact.cli import eval as evaluation
from intact.cli import help as help_command
from intact.cli.help import WithHelp
from intact.cli.interruption import Interrupted, typed_program
from intact.cli.log_store import LAST
from intact.cli.model_option import model_first, with_model_option
from intact.cli.output import fail

BROKEN_PIPE = 141
"""Exit status when the reader of standard output has closed the pipe (128 + SIGPIPE)."""

CRASHED = 70
"""Exit status after an internal error (EX_SOFTWARE in sysexits.h); some commands use 1 for a verdict."""


_CONVERSATION = re.compile(rf"{LAST}|[0-9a-f-]*[0-9a-f]")
"""Pattern of a conversation's name in the log, or of the end of a name."""
_METAVAR = re.compile(r"\[(\[.*\].*)\]")
"""Pattern of an optional argument whose metavar already has brackets."""


def _names_conversation(word: str) -> bool:
    """Return true if the word after --continue is its value: neither an option nor a model's name or path."""
    if _CONVERSATION.fullmatch(word):
        return True
    return word[:1] not in ("", "-") and "." not in word and not looks_like_path(word) and not is_name(word)


class Command(WithHelp, TyperCommand):
    """A command whose help ends with examples, and whose option --continue takes an optional value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        given = list(args)
        for index, word in enumerate(args[: args.index("--")] if "--" in args else args):
            if word == "--continue" and not _names_conversation(args[index + 1] if index + 1 < len(args) else ""):
                given.insert(index + 1 + len(given) - len(args), LAST)
        rest: list[str] = super().parse_args(ctx, model_first(ctx, given))
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Show the metavar of repeated arguments unchanged, and the model as an option where it is given as one."""
        parts = super().collect_usage_pieces(ctx)
        arguments = [one for one in self.params if one.param_type_name == "argument"]
        for place, one in enumerate(arguments, len(parts) - len(arguments)):
            if getattr(one, "hidden", False):
                parts[place : place + 1] = ["-m MODEL"] * one.required
        return [_METAVAR.sub(r"\1", part).removesuffix("...").removeprefix("{").removesuffix("}") for part in parts]


class Commands(WithHelp, TyperGroup):
    """A group of commands that reports errors in one line, without a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and save the whole command line so that it can be shown after Ctrl-C."""
        ctx.meta.setdefault("intact.arguments", list(args))
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            result = super().invoke(ctx)
            with named_errors(Path("standard output")):
                sys.stdout.flush()
        except KeyboardInterrupt as interrupt:
            # the cursor is directly after ^C
            sys.stderr.write("\n")
            if isinstance(interrupt, Interrupted):
                program = ctx.obj or [ctx.find_root().info_name]
                sys.stderr.write(interrupt.advice(shlex.join([*program, *ctx.meta["intact.arguments"]])))
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # not an error of the command: run_app handles it
        except (IntactError, OSError, MemoryError) as error:
            fail(_message(error))
            raise typer.Exit(2) from None
        return result


class Application(Commands):
    """The root group; its short help shows only the first commands."""

    is_long = True

    def shortened(self) -> Any:
        """Return a copy with only the most common commands, in one list."""
        short = copy.copy(self)
        short.commands = {name: copy.copy(self.commands[name]) for name in FIRST}
        for command in short.commands.values():
            command.rich_help_panel = None  # type: ignore[attr-defined]
        return short


def _message(error: Exception) -> str:
    """Return an error's message; an operating system error starts with the file name."""
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or "not enough memory"


def _silence_stdout() -> None:
    """Redirect stdout to the null device; otherwise the interpreter complains when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"intact {intact.__version__}")
        raise typer.Exit


EXAMPLES = """\
A first answer; the default model (98 MB) is fetched once
  intact run "Why is the sky blue?"
A conversation
  intact chat
All commands by group, and the help of one
  intact help all
  intact help run
"""

FIRST = ("run", "chat", "solve", "eval", "report", "serve", "verify", "models", "methods", "doctor")
"""The commands that `intact --help` shows."""

app = typer.Typer(
    cls=Application,
    name="intact",
    help="Bit-exact language models: the same weights, prompt and seed give the same answer on every machine.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


_PANELS = {
    "Commands that answer": (run, chat, superposed, solve, methods, check, embed, rerank, serve, mcp, shard),
    "Commands that measure": (evaluation, judge, sweep, report, tasks, perplexity, lab, bench, tune, plan),
    "Commands that prove": (verify, page, audit, meter, diff),
    "Commands for logic": (prove, deduce),
    "Models and this machine": (pull, quantize, steer, info, selftest, doctor, help_command),
}
for panel, modules in _PANELS.items():
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        app.command(name, cls=Command, epilog=module.EXAMPLES, rich_help_panel=panel)(with_model_option(module.command))


def _group(
    name: str,
    panel: str,
    text: str,
    commands: dict[str, tuple[Callable[..., None], str]],
    alone: tuple[Callable[..., None], str] | None = None,
) -> None:
    """Add a group of subcommands, each with its examples; `alone` is the command that runs if none is given."""
    group = typer.Typer(cls=Commands, help=text, no_args_is_help=alone is None, epilog=alone and alone[1])
    if alone is not None:
        group.callback(invoke_without_command=True, help=text)(alone[0])
    for own, (command, epilog) in commands.items():
        group.command(own, cls=Command, epilog=epilog)(with_model_option(command))
    app.add_typer(group, name=name, rich_help_panel=panel)


_answer, _measure, _prove, _logic, _machine = _PANELS
_group(
    "logs",
    _answer,
    "List the conversations of run and chat; show, recompute or remove one.",
    {
        "show": (logs.show_conversation, logs.SHOW_EXAMPLES),
        "replay": (logs.replay, logs.REPLAY_EXAMPLES),
        "path": (logs.path, logs.PATH_EXAMPLES),
        "rm": (logs.remove, logs.RM_EXAMPLES),
        "clear": (logs.clear, logs.CLEAR_EXAMPLES),
    },
    alone=(logs.listing, logs.EXAMPLES),
)
_group("trace", _answer, "Show the trees of texts behind answers.", {"show": (trace.show, trace.EXAMPLES)})
_group(
    "learn",
    _measure,
    "Learn from your own runs.",
    {
        "concepts": (learn.concepts, learn.CONCEPTS_EXAMPLES),
        "methods": (learn.methods, learn.METHODS_EXAMPLES),
        "prefixes": (learn.prefixes, learn.PREFIXES_EXAMPLES),
        "settings": (learn.settings, learn.SETTINGS_EXAMPLES),
        "value": (learn.value, learn.VALUE_EXAMPLES),
    },
)
_group(
    "train",
    _machine,
    "Train adapters, heads and small models, with a receipt of every step.",
    {
        "sft": (train.sft, train.SFT_EXAMPLES),
        "preference": (train.preference, train.PREFERENCE_EXAMPLES),
        "distil": (train.distil, train.DISTIL_EXAMPLES),
        "heads": (train.heads, train.HEADS_EXAMPLES),
        "recipe": (train.recipe, train.RECIPE_EXAMPLES),
        "resume": (train.resume, train.RESUME_EXAMPLES),
        "export": (train.export, train.EXPORT_EXAMPLES),
    },
)
_group(
    "traffic",
    _measure,
    "Generate traffic, and replay it against a server.",
    {"make": (traffic.make, traffic.MAKE_EXAMPLES), "replay": (traffic.replay, traffic.REPLAY_EXAMPLES)},
)
_group(
    "cassette",
    _measure,
    "Record what programs ask endpoints, replay it without network, and measure drift.",
    {
        "record": (cassette.record, cassette.RECORD_EXAMPLES),
        "replay": (cassette.replay, cassette.REPLAY_EXAMPLES),
        "drift": (cassette.drift, cassette.DRIFT_EXAMPLES),
    },
)
_group(
    "keys",
    _prove,
    "Create keys, and sign receipts with them.",
    {
        "new": (keys.new, keys.NEW_EXAMPLES),
        "show": (keys.show, keys.SHOW_EXAMPLES),
        "sign": (keys.sign, keys.SIGN_EXAMPLES),
    },
)
_group(
    "receipt",
    _prove,
    "Show receipts; commit them to layers, and open the commitments.",
    {
        "show": (receipt.show, receipt.EXAMPLES),
        "commit": (receipt_layers.commit, receipt_layers.COMMIT_EXAMPLES),
        "open": (receipt_layers.open_, receipt_layers.OPEN_EXAMPLES),
    },
)
_group(
    "lock",
    _prove,
    "Record how a result was made, and reproduce it.",
    {
        "new": (lock.new, lock.NEW_EXAMPLES),
        "check": (lock.check, lock.CHECK_EXAMPLES),
        "cite": (lock.cite, lock.CITE_EXAMPLES),
    },
)
_group(
    "models",
    _machine,
    "List the named models: local copies, sizes, licences; show one, or remove it.",
    {"show": (models.show, models.SHOW_EXAMPLES), "rm": (models.rm, models.RM_EXAMPLES)},
    alone=(models.listing, models.EXAMPLES),
)


def run_app() -> None:
    """Run the command line; characters that the output encoding lacks are replaced rather than raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="intact", obj=typed_program())
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # Rich and Typer exit with 1, which is a verdict here
            _silence_stdout()
            raise SystemExit(BROKEN_PIPE) from None
        raise
    except Exception:
        traceback.print_exc()
        sys.exit(CRASHED)
