"""``intact pull``: fetch a model from the catalogue, or from a repository on the hub."""

from __future__ import annotations

from typing import Annotated

import typer

from intact.checkpoints.catalogue import DEFAULT, HubName, expand
from intact.cli import fetch
from intact.cli.options import JsonOption, complete_model
from intact.cli.output import emit, show, size

EXAMPLES = """\
The default model
  intact pull
Another model; if interrupted, the same command resumes the download
  intact pull qwen2.5-coder-0.5b-instruct
In a folder other than ~/.cache/intact
  INTACT_HOME=/big/disk intact pull qwen3-4b
From a repository on the hub: its default, one quantisation or file, at a revision
  intact pull hf:Qwen/Qwen3-0.6B-GGUF
  intact pull hf:Qwen/Qwen3-0.6B-GGUF:Q8_0
  intact pull hf:Qwen/Qwen3-0.6B@main:safetensors
From a mirror of the hub
  HF_ENDPOINT=https://mirror.example intact pull qwen3-4b
"""


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            help="Name listed by intact models, or hf:OWNER/REPO[@REVISION][:FILE-OR-QUANTISATION].",
            autocompletion=complete_model,
        ),
    ] = DEFAULT,
    json: JsonOption = False,
) -> None:
    """Fetch a model, and verify its SHA-256."""
    text = expand(model)
    wanted, facts = fetch.find_source(HubName.parse(text) if text.startswith("hf:") else text)
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
            | ({"files": dict(pulled.files)} if pulled.files else {})
        )
        return
    origin = f"from {pulled.source}" if pulled.fresh else "already here"
    licence = facts.partition(", ")[2]
    show(f"{pulled.name}: {origin}, {size(pulled.bytes)}, {licence}")
    digests = {"": pulled.sha256} if pulled.sha256 else {f"  {file}": digest for file, digest in pulled.files.items()}
    for file, digest in digests.items():
        show(f"SHA-256 {digest}{file}")
    show(str(pulled.path))
