"""``intact pull``: fetch a model of the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from intact.catalogue import DEFAULT, entry
from intact.cli import fetch
from intact.cli.options import JsonOption, complete_model
from intact.cli.output import emit, show, size

EXAMPLES = """\
The default model
  intact pull
Another one; stopped halfway, the same command goes on from there
  intact pull qwen2.5-coder-0.5b-instruct
Kept elsewhere than in ~/.cache/intact
  INTACT_HOME=/big/disk intact pull qwen3-4b
From a mirror of the hub
  HF_ENDPOINT=https://mirror.example intact pull qwen3-4b
"""


def command(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A name that intact models lists.", autocompletion=complete_model)
    ] = DEFAULT,
    json: JsonOption = False,
) -> None:
    """Fetch a model of the catalogue, checked by SHA-256."""
    wanted = entry(name)
    pulled = fetch.pull_with_progress(wanted)
    if json:
        emit(
            {
                "name": pulled.name,
                "path": str(pulled.path),
                "bytes": pulled.bytes,
                "sha256": pulled.sha256,
                "source": pulled.source,
                "fresh": pulled.fresh,
            }
        )
        return
    origin = f"from {pulled.source}" if pulled.fresh else "already here"
    show(f"{wanted.name}: {origin}, {size(pulled.bytes)}, {wanted.licence}\nSHA-256 {pulled.sha256}\n{pulled.path}")
