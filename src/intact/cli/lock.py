"""``intact lock``: write, check and cite files that record how a published result was made."""

from __future__ import annotations

import json as decoder
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, TypeVar

import typer

from intact._base.errors import LockError
from intact._base.files import write_whole
from intact.cli import fetch
from intact.cli.options import JsonOption, Profile, ProfileOption, check_output, pair
from intact.cli.output import emit, note, one_line, say, show
from intact.text.template import DEFAULT_NOW, current, read_time

if TYPE_CHECKING:
    from intact.receipts.lock import Lock, LockedFile, LockedModel, LockFinding

NEW_EXAMPLES = """\
Run a command, and lock its models, data, versions and result
  intact lock new answer.lock -- run "Name a colour." -n 5 --temperature 1 --json > answer.json
Lock a result that is written to a file
  intact lock new gsm8k.lock --result gsm8k.jsonl -- eval smollm2-135m-instruct gsm8k --out gsm8k.jsonl
Lock only a model, for a program of your own
  intact lock new paper.lock --model qwen2.5-coder-0.5b-instruct
"""
CHECK_EXAMPLES = """\
Check that the same weights, tokenizer and numerics are here
  intact lock check answer.lock
Recompute the result, and compare it; read the command in the file first
  intact lock check answer.lock --run
"""
CITE_EXAMPLES = """\
One line for a paper, or an entry for its bibliography
  intact lock cite answer.lock
  intact lock cite answer.lock --style bibtex
"""
T = TypeVar("T")
DIFFERENT = 1
"""Exit status if something that determines a result differs from the lock."""
_BY_THE_CLOCK = ("chat", "run")
"""Commands whose chat templates use the current time by default; other commands with ``--now`` use a fixed time."""
_METHOD = re.compile(r"(.+\.py):\w+")

LockFile = Annotated[Path, typer.Argument(metavar="FILE", help="The lock file.", show_default=False)]


def new(
    context: typer.Context,
    file: LockFile,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND]",
            help="Command that produces the result, without the word `intact`.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model to lock without a command; repeatable."),
    ] = None,
    reads: Annotated[
        list[str] | None,
        typer.Option("--reads", metavar="FILE", help="File that the command reads, other than a task's data."),
    ] = None,
    result: Annotated[
        str | None,
        typer.Option(
            "--result", metavar="FILE", help="File that the command writes; by default its JSON output is locked."
        ),
    ] = None,
    profile: ProfileOption = "int8",
    json: JsonOption = False,
) -> None:
    """Write a lock. With a command, run it, show its output, and lock the result too."""
    from intact.receipts.lock import Lock

    if file.exists():
        raise LockError(f"{file} already exists; choose a new file name")
    check_output("the lock", file)
    if bool(arguments) == bool(model):
        raise LockError("give either a command after --, or models with --model")
    if arguments:
        made = regenerate(context.find_root().command, arguments, reads or [], result, echo=sys.stdout)
    else:
        made = Lock.now([_lock_model(name, profile) for name in model or []])
    try:
        write_whole(file, made.text())
    except OSError as error:
        raise LockError(f"{file} cannot be written ({error.strerror or error})") from error
    if json and not arguments:
        emit(made.to_document())
    note(f"{file}: sha256 {made.digest.hex()}")


def check(
    context: typer.Context,
    file: LockFile,
    run: Annotated[bool, typer.Option("--run", help="Run the recorded command, and compare the results.")] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME=MODEL", help="Current location of a model; repeatable."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check whether a locked result would be the same on this machine; with --run, whether it is.

    Exit status 0: nothing that determines a result differs; 1: something does; 2: the lock cannot be checked.
    """
    from intact.receipts.lock import Lock, compare

    locked = _read(file)
    if run and locked.run is None:
        raise LockError(f"{file} names no command, so there is nothing to run")
    places = dict(pair(text, "--model") for text in model or [])
    if run and locked.run is not None:
        again, names = locked.run, {place: name for name, place in places.items()}
        arguments = [places.get(argument, argument) for argument in again.arguments]
        here = regenerate(
            context.find_root().command,
            arguments,
            [file.name for file in again.files],
            again.written,
            echo=StringIO(),
            now=again.now,
        )
        here = replace(here, models=tuple(replace(m, name=names.get(m.name, m.name)) for m in here.models))
    else:
        here = Lock.now([_lock_model(m.name, m.numerics.profile, places.get(m.name), m) for m in locked.models])
    findings = compare(locked, here)
    differ = [finding for finding in findings if finding.decides and not finding.same]
    if json:
        emit(
            {
                "file": str(file),
                "sha256": locked.digest.hex(),
                "same": not differ,
                "findings": [{**finding._asdict(), "same": finding.same} for finding in findings],
            }
        )
    else:
        _show(findings)
    if differ:
        raise typer.Exit(DIFFERENT)


def cite(
    file: LockFile,
    style: Annotated[
        Literal["text", "bibtex"], typer.Option("--style", help="One line of text, or a BibTeX entry.")
    ] = "text",
    json: JsonOption = False,
) -> None:
    """Print a citation that identifies versions, weights and the lock itself by digests."""
    from intact.receipts import lock

    locked = _read(file)
    if json:
        emit({"sha256": locked.digest.hex(), "text": lock.cite(locked), "bibtex": lock.cite(locked, "bibtex")})
    else:
        say(lock.cite(locked, style) + "\n")


def regenerate(
    root: Any, arguments: list[str], reads: list[str], written: str | None, echo: TextIO, now: str | None = None
) -> Lock:
    """Run an intact command, and lock its inputs and its result.

    Parameters
    ----------
    root : click.Command
        The command line.
    now : str, optional
        Time for chat templates, unless the arguments give one; by default the command's own default.

    Raises
    ------
    LockError
        If the command fails or prints no JSON, or its output file already exists.
    """
    from intact.receipts.lock import Lock, LockedFile, LockedModel, LockedRun, result_digest
    from intact.tasks import data

    if arguments[0] == "lock":
        raise LockError("a lock cannot be locked")
    if written is None and "--json" not in arguments:
        raise LockError("the command lacks --json: its plain output depends on the terminal")
    for old in _results(arguments, written):
        if old.exists():
            raise LockError(f"{old} already exists: move it away, so that the result is recomputed")
    models: dict[str, Any] = {}
    files: dict[str, LockedFile] = {}

    def read(path: Path, name: str) -> None:
        files.setdefault(name, LockedFile(name, LockedFile.of(path).sha256))

    for argument in arguments:
        if found := _METHOD.fullmatch(argument):
            read(Path(found[1]), found[1])
    timed, now = _timed(root, arguments, now)
    output = _Tee(echo)
    with (
        _watched_by(fetch.observers, models.__setitem__),
        _watched_by(data.observers, lambda path: read(path, _data_name(path))),
        redirect_stdout(output),
    ):
        status = root.main(timed, prog_name="intact", standalone_mode=False)
    if status:
        raise LockError(f"the command ended with status {status}, so there is no result to lock")
    for name in reads:
        if name not in files:
            read(Path(name), name)
    if not models:
        raise LockError("the command loaded no model")
    result = result_digest(_json(output.getvalue())) if written is None else LockedFile.of(Path(written)).sha256
    locked = [LockedModel.of(name, model) for name, model in sorted(models.items())]
    return Lock.now(
        locked, LockedRun(tuple(arguments), tuple(files[name] for name in sorted(files)), result, written, now=now)
    )


def _timed(root: Any, arguments: list[str], now: str | None) -> tuple[list[str], str | None]:
    """Return the arguments with the time for chat templates inserted where the command accepts it, and that time."""
    place = _place_of_time(root, arguments)
    if place is None:
        return arguments, None
    for own in _given("--now", arguments):
        return arguments, read_time(own).isoformat()
    now = now or (current() if arguments[0] in _BY_THE_CLOCK else DEFAULT_NOW).isoformat()
    return [*arguments[:place], "--now", now, *arguments[place:]], now


def _place_of_time(root: Any, arguments: list[str]) -> int | None:
    """Return the index in the arguments at which ``--now`` can be inserted; None if the command has no such option."""
    found = root
    for place, argument in enumerate(arguments, 1):
        found = getattr(found, "commands", {}).get(argument)
        if found is None:
            return None
        if not hasattr(found, "commands"):
            return place if any(parameter.name == "now" for parameter in found.params) else None
    return None


def _given(option: str, arguments: list[str]) -> Iterator[str]:
    """Yield the values of an option, given as ``--option VALUE`` or ``--option=VALUE``."""
    parts = [part for argument in arguments for part in argument.split("=", 1)]
    for name, value in pairwise(parts):
        if name == option:
            yield value


def _results(arguments: list[str], written: str | None) -> Iterator[Path]:
    """Yield the paths at which a result may already exist: the command's output file, and journals."""
    if written is not None:
        yield Path(written)
        yield Path(written).with_suffix(".journal")
    yield from map(Path, _given("--journal", arguments))


@contextmanager
def _watched_by(observers: list[T], observe: T) -> Iterator[None]:
    observers.append(observe)
    try:
        yield
    finally:
        observers.remove(observe)


class _Tee(StringIO):
    """Text stream that records the output and passes it on; never counts as a terminal."""

    def __init__(self, echo: TextIO) -> None:
        super().__init__()
        self._echo = echo

    def write(self, text: str) -> int:
        self._echo.write(text)
        return super().write(text)


def _json(text: str) -> Any:
    try:
        return decoder.loads(text)
    except ValueError as error:
        raise LockError(f"the command's output is not JSON: {error}") from error


def _data_name(path: Path) -> str:
    """Return the name of a problem file: its path within the data folder."""
    from intact.tasks.data import name_of

    return name_of(path)


def _lock_model(name: str, profile: Profile, place: str | None = None, like: LockedModel | None = None) -> LockedModel:
    from intact.receipts.identity import version_of
    from intact.receipts.lock import lock_model
    from intact.receipts.model_digests import Numerics

    bits = 8 if like is None else like.numerics.bits
    return lock_model(name, fetch.locate(place or name), Numerics(version_of(profile), profile, bits))


def _read(file: Path) -> Lock:
    from intact.receipts.lock import Lock

    try:
        with file.open("rb") as stream:
            data = stream.read(1 << 24)
    except OSError as error:
        raise LockError(f"{file} cannot be read ({error.strerror or error})") from error
    try:
        return Lock.parse(data)
    except LockError as error:
        raise LockError(f"{file}: {error}") from error


def _show(findings: list[LockFinding]) -> None:
    for finding in findings:
        what = one_line(finding.what)
        if finding.same:
            show(("same     ", "green"), what)
        else:
            word, style = ("differs  ", "bold red") if finding.decides else ("other    ", "yellow")
            difference = one_line(f"  locked {finding.locked}, here {finding.found}")
            show((word, style), what, (difference, "dim"))
