"""``intact shard``: listen as one rank of a distributed model, for a part of the model or for its prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from intact.cli import fetch
from intact.cli.model_option import ModelArgument
from intact.cli.options import JsonOption
from intact.cli.output import emit, note

EXAMPLES = """\
On the second machine
  intact shard -m qwen3-0.6b --listen 10.0.0.2:7000
On the first machine
  intact run -m qwen3-0.6b "Why is the sky blue?" --tensor-parallel 10.0.0.2:7000
On the first machine, to give the second some of the layers instead of part of every matrix
  intact run -m qwen3-0.6b "Why is the sky blue?" --pipeline-parallel 10.0.0.2:7000
On the first machine, to have the second compute the prompts
  intact serve qwen3-0.6b --prefill 10.0.0.2:7000
"""


def command(
    model: ModelArgument,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Address to listen on. Anyone who can reach it can make this machine compute, and see tokens: use "
            "a private network. Port 0 picks a free port.",
        ),
    ] = "127.0.0.1:7000",
    json: JsonOption = False,
) -> None:
    """Compute for another machine: part of a model, or prompts, as its --tensor-parallel or similar option requests."""
    path = fetch.locate(model)
    from intact.library.parallel.ranks import parse_address
    from intact.library.parallel.shard import listen_at, serve_shard

    listener = listen_at(parse_address(listen, "--listen"))
    host, port = listener.getsockname()[:2]
    if json:
        emit({"model": path.name, "host": host, "port": port})
    else:
        note(f"{path.name} at {host}:{port}; Ctrl-C ends")
    serve_shard(listener, path)
