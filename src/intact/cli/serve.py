"""``intact serve``: models behind OpenAI's interface."""

from __future__ import annotations

from typing import Annotated

import typer

from intact.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.options import CacheOption, ProfileOption, ThreadsOption, as_bytes, complete_model
from intact.errors import ParameterError

EXAMPLES = """\
The default model, for this machine alone
  intact serve
Two models; a client asks for one by its name
  intact serve qwen3-0.6b small=./model.gguf
"""


def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="Catalogue names, paths, or NAME=either.", autocompletion=complete_model
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any that is free.")] = 8000,
    profile: ProfileOption = "int8",
    threads: ThreadsOption = None,
    cache: CacheOption = None,
    json: Annotated[bool, typer.Option("--json", help="Log in lines of JSON, for programs.")] = False,
) -> None:
    """Serve models over HTTP, behind OpenAI's interface, with reasoning methods and a page to watch them."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ParameterError(f"the server needs {error.name}: pip install 'intact[serve]'") from error
    from intact.serve.app import create_app
    from intact.serve.generation import Service
    from intact.serve.models import Loading, Models
    from intact.serve.run import server
    from intact.serve.settings import Settings

    settings = Settings(host, port, log="json" if json else "text")
    places = {name: str(fetch.locate(place)) for name, place in map(_named, models or [DEFAULT])}
    served = Models(places, Loading(profile, threads, as_bytes(cache)), settings)
    server(create_app(Service(settings, served)), settings).run()


def _named(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if equals:
        return name, place
    return (text.rstrip("/").rpartition("/")[2].removesuffix(".gguf") if "/" in text else text), text
