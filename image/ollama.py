#!/usr/bin/python3
"""The command `ollama` of the container image: what Testcontainers and scripts call in Ollama's container.

`serve` starts intact's server; the other commands ask it, through its own user's socket where there is one, so that
they need no API key, and may have a model pulled.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

DEFAULT_ADDRESS = ("127.0.0.1", 11434)
NAMES = ("intact", "ollama", "host.docker.internal", "host.containers.internal")
"""Names under which others may reach the server, besides the container's own and those in INTACT_ALLOW_HOST."""
LARGEST = 16 << 20
"""Maximum length of a line of a response in bytes."""


class CommandError(Exception):
    """A command failed; the message says why."""


class LocalConnection(http.client.HTTPConnection):
    """A connection over a socket that is already connected."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connected


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["serve"]:
            serve(given[1:])
            return 0
        options = parser().parse_args(given or ["--help"])
        options.run(options)
    except (CommandError, OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands but `serve`, whose options are those of `intact serve`."""
    top = argparse.ArgumentParser(prog="ollama", description="Ask the server in this container, as Ollama does.")
    top.add_argument("-v", "--version", dest="run", action="store_const", const=print_version, help="print the version")
    commands = top.add_subparsers(metavar="COMMAND")
    commands.add_parser("serve", help="start the server (options: intact serve --help)")
    for name, run, text in (
        ("list", list_models, "list the models"),
        ("ls", list_models, "list the models"),
        ("ps", list_running, "list the models in memory"),
        ("health", check_health, "exit with status 0 if the server answers"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    for name, run, text in (
        ("pull", pull, "fetch a model of the catalogue, and serve it"),
        ("show", show, "describe a model"),
        ("run", run_model, "answer a prompt, which may also come from standard input"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("model", help="name of the model")
        command.set_defaults(run=run)
        if run is pull:
            command.add_argument("--insecure", action="store_true", help="no effect: files are verified by digest")
        if run is run_model:
            command.add_argument("prompt", nargs="*", help="prompt")
    for name in ("create", "cp", "rm", "push", "stop"):
        command = commands.add_parser(name, help="not available: the server keeps the models that it was started with")
        command.add_argument("rest", nargs=argparse.REMAINDER)
        command.set_defaults(run=refuse, name=name)
    return top


def serve(options: Sequence[str]) -> None:
    """Run the server in this process until it is asked to stop."""
    from intact.cli import main as run_intact

    sys.argv = serve_command(options)
    run_intact()


def serve_command(options: Sequence[str]) -> list[str]:
    """Return the command that starts the server; options are added to the image's own, and may name further models."""
    from intact.checkpoints.catalogue import CATALOGUE, DEFAULT, store

    host, port = server_address()
    command = ["intact", "serve"]
    if "--any-name" not in options:  # which allows one model only
        pulled = [name for name, entry in CATALOGUE.items() if name != DEFAULT and (store() / entry.file).is_file()]
        command += [DEFAULT, *pulled]
    command += ["--host", host, "--port", str(port)]
    if not any(option.partition("=")[0] == "--api-keys" for option in options):
        command.append("--no-auth")
    more = [name for name in os.environ.get("INTACT_ALLOW_HOST", "").split(",") if name]
    for name in dict.fromkeys([*NAMES, socket.gethostname(), *more]):
        command += ["--allow-host", name]
    return [*command, *options]


def server_address() -> tuple[str, int]:
    """Return the host and port in OLLAMA_HOST, which may lack either.

    Raises
    ------
    CommandError
        If it is not an address.
    """
    text = os.environ.get("OLLAMA_HOST", "").strip()
    try:
        found = urlsplit(text if "://" in text else f"//{text}")
        return found.hostname or DEFAULT_ADDRESS[0], found.port or DEFAULT_ADDRESS[1]
    except ValueError as error:
        raise CommandError(f"OLLAMA_HOST is {text!r:.100}; expected HOST:PORT ({error})") from None


def connect() -> http.client.HTTPConnection:
    """Return a connection to the server."""
    from intact.serve import same_user

    host, port = server_address()
    is_local = host in ("0.0.0.0", "::", "localhost") or host.startswith("127.")
    for path in same_user.sockets() if is_local else ():
        if (found := same_user.connect(path)) is not None:
            found.settimeout(None)
            return LocalConnection(found)
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return http.client.HTTPConnection(reached, port)


def ask(method: str, path: str, body: Any = None) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of a response.

    Raises
    ------
    CommandError
        If the server cannot be reached, or reports an error.
    """
    connection = connect()
    try:
        connection.request(
            method, path, None if body is None else json.dumps(body), {"content-type": "application/json"}
        )
        response = connection.getresponse()
    except OSError as error:
        raise CommandError(f"could not connect to the server: {error}; is it running?") from error
    while line := response.readline(LARGEST + 1):
        value = json.loads(line) if len(line) <= LARGEST else None
        if not isinstance(value, dict):
            raise CommandError(f"{path}: the response is not a JSON object of at most {LARGEST:,} bytes")
        if response.status != 200 or "error" in value:
            error = value.get("error", f"HTTP {response.status}")
            raise CommandError(str(error.get("message", error) if isinstance(error, dict) else error))
        yield value
    connection.close()


def print_version(_: argparse.Namespace) -> None:
    """Print the version of the API, and that of intact."""
    import intact

    try:
        (found,) = ask("GET", "/api/version")
        print(f"ollama version is {found['version']} (intact {found['intact']})")
    except CommandError:
        print(f"Warning: could not connect to a running server\nWarning: client version is {intact.__version__}")


def list_models(_: argparse.Namespace) -> None:
    """Print the models."""
    (found,) = ask("GET", "/api/tags")
    _print_table(("NAME", "ID", "SIZE", "MODIFIED"), found["models"], "modified_at")


def list_running(_: argparse.Namespace) -> None:
    """Print the models in memory."""
    (found,) = ask("GET", "/api/ps")
    _print_table(("NAME", "ID", "SIZE", "UNTIL"), found["models"], "expires_at")


def check_health(_: argparse.Namespace) -> None:
    """Raise unless the server answers."""
    next(ask("GET", "/health"), None)


def pull(options: argparse.Namespace) -> None:
    """Have a model fetched and served, with its progress on standard error."""
    last = ""
    for value in ask("POST", "/api/pull", {"model": options.model}):
        total, done = value.get("total"), value.get("completed")
        text = f"{value.get('status')}" + (f" {100 * done // total}%" if total and done is not None else "")
        if text != last:
            print(text, file=sys.stderr, flush=True)
        last = text
    if last != "success":
        raise CommandError(f"pull model {options.model}: the connection broke after {last!r}")


def show(options: argparse.Namespace) -> None:
    """Print a description of a model."""
    (found,) = ask("POST", "/api/show", {"model": options.model})
    for name, value in {**found["details"], "capabilities": ", ".join(found["capabilities"])}.items():
        if value not in (None, "", []):
            print(f"{name:20} {value}")


def run_model(options: argparse.Namespace) -> None:
    """Print the answer to a prompt; without one, only check that the model is served."""
    prompt = " ".join(options.prompt)
    if not sys.stdin.isatty():
        prompt = "\n".join(part for part in (prompt, sys.stdin.read().strip()) if part)
    if not prompt:
        (_,) = ask("POST", "/api/show", {"model": options.model})
        return
    for value in ask("POST", "/api/chat", {"model": options.model, "messages": [{"role": "user", "content": prompt}]}):
        print(end=value.get("message", {}).get("content", ""), flush=True)
    print()


def refuse(options: argparse.Namespace) -> None:
    """Raise for a command that would change the models."""
    raise CommandError(f"ollama {options.name} is not available here: models are given to `serve`, or pulled")


def _print_table(titles: tuple[str, ...], models: Sequence[dict[str, Any]], when: str) -> None:
    rows = [titles]
    for model in models:
        moment = datetime.fromisoformat(model[when])
        text = "forever" if moment.year == 9999 else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        rows.append(
            (model["name"], model["digest"].removeprefix("sha256:")[:12], f"{model['size'] / 1e6:.0f} MB", text)
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    for row in rows:
        print("    ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
