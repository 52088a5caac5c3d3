"""The reference of the command line, as rendered by typer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.cli
import typer.main

from intact.cli.app import app

OPENING = """\
# Commands

What `intact COMMAND --help` prints. The [guide](../docs/guide.md) says how to use them.

"""


def _prepare(command: Any) -> None:
    """Keep the formatting of examples, and show the full first line of a command's help in lists of commands."""
    if command.epilog:
        command.epilog = f"**Examples**:\n\n```text\n{command.epilog.rstrip()}\n```\n"
    command.short_help = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    for inner in getattr(command, "commands", {}).values():
        _prepare(inner)


def write(path: Path) -> None:
    """Write the page."""
    command = typer.main.get_command(app)
    _prepare(command)
    text = typer.cli.get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="intact"), name="intact")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OPENING + re.sub("^#", "##", text, flags=re.MULTILINE), "utf-8")
