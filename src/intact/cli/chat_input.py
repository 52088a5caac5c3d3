"""Chat input: messages of one or several lines, with a persistent history.

A message continues on the next line after a trailing backslash; a line that begins with three quotes starts a message
that extends to a line ending with them. Pasted text with line feeds is one message if the terminal supports bracketed
paste.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from intact._base.files import write_whole
from intact.cli.log_store import append_private, state_folder
from intact.cli.output import note, say

QUOTES = '"""'
REMEMBERED = 1000
"""Number of messages that the history keeps."""


class InputHistory:
    """The line editor's history, in a file that only its user may read, with one message per line as JSON.

    Parameters
    ----------
    file : Path or None
        None: keep no history beyond this chat.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._readline = None
        if sys.platform == "win32":
            return
        try:
            import readline  # importing it gives input() cursor keys and a history
        except ImportError:
            return
        self._readline = readline
        readline.set_auto_history(False)  # a message of several lines is one entry
        if "libedit" not in (readline.__doc__ or ""):
            readline.parse_and_bind("set enable-bracketed-paste on")
        for message in self._read():
            readline.add_history(message)

    def add(self, message: str) -> None:
        """Append a typed message."""
        if self._readline is not None:
            self._readline.add_history(message)
        if self._file is not None:
            try:
                append_private(self._file, json.dumps(message))
            except OSError as error:
                note(f"the history is not kept: {error}")
                self._file = None

    def _read(self) -> list[str]:
        """Return the messages of earlier chats; an overlong file is truncated, damaged lines are skipped."""
        if self._file is None:
            return []
        messages = []
        with suppress(OSError):
            for line in self._file.read_text("utf-8", "replace").splitlines():
                with suppress(ValueError, RecursionError):
                    message = json.loads(line)
                    messages += [message] if isinstance(message, str) else []
        if len(messages) > 2 * REMEMBERED:
            with suppress(OSError):
                write_whole(self._file, [json.dumps(message) + "\n" for message in messages[-REMEMBERED:]])
                self._file.chmod(0o600)
        return messages[-REMEMBERED:]


def history_file() -> Path:
    """Return the path of the chat history file."""
    return state_folder() / "chat_history"


def read_messages(history: InputHistory | None) -> Iterator[str]:
    """Yield the messages and commands that the user types, until Ctrl-D; Ctrl-C discards the current input.

    Parameters
    ----------
    history : InputHistory or None
        None if standard input is not a terminal; no prompt is shown then.
    """
    while True:
        try:
            message = _message(prompted=history is not None)
        except EOFError:
            if history is not None:
                say("\n")
            return
        except KeyboardInterrupt:
            if history is None:
                raise
            say("\n")
            note("(Ctrl-D leaves)")
            continue
        if message:
            if history is not None:
                history.add(message)
            yield message


def _message(prompted: bool) -> str:
    """Read a message of one or several lines."""
    if prompted:
        say("\n")
    lines = [input("> " if prompted else "").strip()]
    if lines[0].startswith(QUOTES):
        return _block(lines[0].removeprefix(QUOTES), prompted)
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        with suppress(EOFError):
            lines.append(input("... " if prompted else "").rstrip())
            continue
        break
    return "\n".join(lines).strip()


def _block(first: str, prompted: bool) -> str:
    """Read until a line that ends with three quotes, or until the end of input."""
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES):
        with suppress(EOFError):
            lines.append(input("... " if prompted else ""))
            continue
        return "\n".join(lines).strip("\n")
    lines[-1] = lines[-1].rstrip().removesuffix(QUOTES)
    return "\n".join(lines).strip("\n")


def is_interactive() -> bool:
    """Return true if standard input is a terminal."""
    return sys.stdin.isatty()
