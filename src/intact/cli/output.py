"""Terminal output: JSON, errors, sizes, progress bars. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress


def out() -> Console:
    """Return a console on stdout; colours are used only on a terminal without NO_COLOR."""
    return Console(highlight=False)


def err() -> Console:
    """Return a console on stderr."""
    return Console(stderr=True, highlight=False)


def show(*parts: str | Text | tuple[str, str], style: str = "") -> None:
    """Write a line to stdout without wrapping; each part is a string, or a pair of string and style."""
    out().print(Text.assemble(*parts, style=style), soft_wrap=True)


def new_table(*columns: str, right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """Return an empty table with a header.

    Parameters
    ----------
    right, whole : collection of str
        The columns that are right-aligned, and those that never wrap.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in whole)
    return table


def show_rows(rows: Iterable[Iterable[str | Text]], *, indented: bool = False) -> None:
    """Write rows to stdout in aligned columns without a header; strings are plain text, never markup."""
    table = Table.grid(padding=(0, 2), pad_edge=indented)
    for row in rows:
        table.add_row(*[Text.assemble(cell) for cell in row])
    out().print(table)


def _plain(value: Any) -> Any:
    """Convert an array in a checkpoint's metadata to lists."""
    return value.tolist()


def emit(value: Any) -> None:
    """Write a value to stdout as JSON, escaping even the control characters that JSON allows."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    sys.stdout.write(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def fail(message: str) -> None:
    """Write ``error: ...`` to stderr, on one line."""
    line = one_line(" ".join(message.split()))
    err().print(Text.assemble(("error:", "bold red"), " ", (line, "red")), soft_wrap=True)


def note(message: str) -> None:
    """Write a dim remark to stderr."""
    err().print(Text(one_line(message), "dim"), soft_wrap=True)


def note_old_form(old: str, new: str) -> None:
    """Report on stderr that a command is written in an old form, which still works."""
    note(f"{old} is an old form: write {new}")


def size(count: int) -> str:
    """Format a number of bytes: ``98 MB``, ``1.12 GB``."""
    if count >= 10**9:
        return f"{count / 1e9:.2f} GB"
    if count >= 10**6:
        return f"{count / 1e6:.0f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 1000 else f"{count} B"


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str, stream: TextIO) -> str:
    """Return text with control characters replaced if the stream is a terminal, so that a model cannot control it."""
    return _CONTROL.sub("\ufffd", text) if stream.isatty() else text


def one_line(text: str) -> str:
    """Return untrusted text on a single line, without control characters.

    Line feeds, control characters and characters that change the writing direction become U+FFFD, on a terminal or not.
    """
    return _STEERING.sub("\ufffd", text)


def examples(text: str) -> None:
    """Print the examples of a help page; indented lines are commands, never wrapped, so that they can be copied."""
    for line in text.splitlines():
        show(line, style="green" if line.startswith("  ") else "")
    out().print()


def quoted(text: str) -> str:
    """Return untrusted text in quotes, for stdout."""
    return printable(repr(text), sys.stdout)


def token_text(tokenizer: Any, token: int) -> str:
    """Return a token's text in quotes; empty for an embedding row that pads the vocabulary."""
    return quoted(tokenizer.token_bytes(token).decode("utf-8", "replace") if token < tokenizer.size else "")


def say(text: str) -> None:
    """Write part of an answer to stdout immediately."""
    sys.stdout.write(printable(text, sys.stdout))
    sys.stdout.flush()


def spinner(text: str) -> AbstractContextManager[Any]:
    """Show a spinner on stderr during a slow step, if stderr is a terminal."""
    console = err()
    return console.status(text) if console.is_terminal else nullcontext()


PAUSE = 30.0
"""Seconds between two progress lines if stderr is not a terminal."""


def occasional_note() -> Callable[[Callable[[], str]], None]:
    """Return a function that occasionally writes a progress line; it does nothing on a terminal, which shows bars."""
    if err().is_terminal:
        return lambda line: None
    last = time.monotonic()

    def report(line: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last >= PAUSE:
            last = time.monotonic()
            note(line())

    return report


def time_left(seconds: float, done: int, total: int) -> str:
    """Estimate the remaining time at the pace so far: ``about 1:30 left``; empty until the first item is done."""
    if not done or done >= total:
        return ""
    minutes, rest = divmod(round(seconds / done * (total - done)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours}:{minutes:02}:{rest:02} left" if hours else f"about {minutes}:{rest:02} left"


class Pace:
    """Estimator of the remaining time, based on the problems done since the first token was generated.

    Problems finished before that came from a journal, so they say nothing about the remaining ones.
    """

    def __init__(self) -> None:
        self.began, self.known, self.writing = time.monotonic(), 0, False

    def left(self, written: int, done: int, total: int) -> str:
        """Format the remaining time as `time_left` does, from the tokens and problems done so far."""
        if written and not self.writing:
            self.began, self.known, self.writing = time.monotonic(), done, True
        return time_left(time.monotonic() - self.began, done - self.known, total - self.known)


@contextmanager
def bar(*columns: Any, still: bool = False) -> Iterator[Progress]:
    """Show a progress bar on stderr while the block runs; nothing if stderr is not a terminal.

    A still bar is redrawn only on request, so that it does not run a thread that would disturb measurements.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = err()
    layout = (TextColumn("{task.description}"), BarColumn(), *columns, TimeRemainingColumn())
    disable = not console.is_terminal
    with Progress(*layout, console=console, transient=True, disable=disable, auto_refresh=not still) as progress:
        yield progress


@contextmanager
def stage_bar(first: str, *columns: Any) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar for work in stages while the block runs; yield a function of stage, amount done, and total.

    If stderr is not a terminal, occasional lines are written instead.

    Parameters
    ----------
    first : str
        The stage shown until one is reported.
    """
    with bar(*columns) as progress:
        task, current, began, occasionally = progress.add_task(first, total=None), "", 0.0, occasional_note()

        def line(stage: str, done: int, total: int | None) -> str:
            left = time_left(time.monotonic() - began, done, total or 0)
            return f"{stage}  {done:,}{f' of {total:,}' if total else ''}  {left}".rstrip()

        def report(stage: str, done: int, total: int | None) -> None:
            nonlocal current, began
            occasionally(lambda: line(stage, done, total))
            if stage != current:
                current, began = stage, time.monotonic()
                progress.reset(task, total=total, completed=done, description=stage)
            else:
                progress.update(task, completed=done, total=total)

        yield report
