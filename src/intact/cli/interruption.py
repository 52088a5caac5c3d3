"""Ctrl-C in long runs: report what was saved, and the command that resumes the run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run whose results are saved, or could have been.

    Attributes
    ----------
    kept : Path or None
        Path of the results so far.
    option : str
        The option that saves results.
    """

    def __init__(self, kept: Path | None, option: str) -> None:
        super().__init__()
        self.kept, self.option = kept, option

    def advice(self, command: str) -> str:
        """Return advice for the user, with the interrupted command quoted for the shell."""
        if self.kept is None:
            return f"nothing was kept; with {self.option} the same command keeps results, and can resume after Ctrl-C\n"
        there = f"results so far are in {self.kept}" if self.kept.exists() else f"there is nothing in {self.kept} yet"
        return f"{there}; to continue:\n  {command}\n"


@contextmanager
def resumable(kept: Path | None, option: str = "--journal DIR") -> Iterator[None]:
    """Run work that the same command can resume after Ctrl-C; `kept` is the path of its results."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(kept, option) from None


def typed_program() -> list[str]:
    """Return the words that started this program: ``intact``, or ``python -m intact``."""
    words = sys.orig_argv[: max(1, len(sys.orig_argv) - len(sys.argv) + 1)]
    if words[-1] != sys.argv[0]:  # -m MODULE: argv has the module's file
        return words
    name = Path(words[-1]).name
    return [name if shutil.which(name) == words[-1] else words[-1]]
