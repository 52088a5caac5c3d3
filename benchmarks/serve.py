"""Compare servers at 1, 8 and 64 clients: throughput, time to the first token, time between tokens, processor time.

    python benchmarks/serve.py [--model PATH] [--clients 1 8 64] [--tokens 64] [--repeats 3] [--llama PYTHON]

Each client streams one answer after the other; all share a system prompt, and each has its own question. `engine` is
the same work as calls of `Model.generate`, without a server: the texts are the same because seeds and prompts are. It
is an upper bound for `intact serve`. The two take turns, with new questions each time; the table has medians, and the
minimum and maximum of the server's rate relative to the engine's in its turn. `--llama` names an interpreter that has
llama-cpp-python with its server, which takes part only in the first turn. Other load on the machine affects every
value, and the last three least: run this on an idle machine.

The clients are one process on the same cores. They do minimal work (a parser in C, one look at each event), and their
processor time per token is reported, next to that of the whole server and of its event loop's thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import httptools
import httpx
import numpy as np

import intact
from intact.checkpoints.catalogue import DEFAULT, resolve

SYSTEM = "You are a patient teacher. Explain what you are asked in plain words, with an example. " * 12
ROUNDS = 2
SAMPLING = {"temperature": 0.8, "seed": 1}
PIECE = re.compile(rb'"delta": ?\{"content": ?"[^"]')
NONE = float("nan")
WRITTEN = re.compile(rb'"completion_tokens": ?(\d+)')


class Figures(NamedTuple):
    """Measurements by the clients: total tokens per second; milliseconds to the first token and between tokens.

    The last three are milliseconds of processor time per token.
    """

    rate: float
    first: float
    first99: float
    between: float
    between99: float
    server: float
    loop: float
    clients: float


class Answer(NamedTuple):
    """The times when an answer was requested and each piece of its text came, and its number of tokens."""

    times: list[float]
    tokens: int


class Client(asyncio.Protocol):
    """A connection that streams one answer after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Initialise the parser."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, content: bytes) -> asyncio.Future[Answer]:
        """Send a request."""
        self._answer = asyncio.get_running_loop().create_future()
        self._rest = self._end = b""
        self._times = [time.perf_counter()]
        lines = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        self.transport.write("\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Process complete events."""
        events, _, self._rest = (self._rest + body).rpartition(b"\n\n")
        if count := len(PIECE.findall(events)):
            self._times += [time.perf_counter()] * count
        self._end = self._end[-1000:] + body

    def on_message_complete(self) -> None:
        """Deliver the answer."""
        assert self._parser.get_status_code() == 200, self._end
        written = WRITTEN.findall(self._end)
        self._answer.set_result(Answer(self._times, int(written[-1]) if written else len(self._times) - 1))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the pending request."""
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))


def messages(number: int) -> list[dict[str, str]]:
    """Return a distinct conversation for each request."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"What is special about the number {number}?"},
    ]


def content(number: int, tokens: int) -> bytes:
    """Return the body of a request."""
    body = {"model": "served", "messages": messages(number), "max_tokens": tokens, "stream": True, **SAMPLING}
    return json.dumps(body | {"stream_options": {"include_usage": True}}).encode()


async def measure(port: int, process: int, asked: list[list[bytes]]) -> Figures:
    """Let clients send requests, each one after the other."""
    loop = asyncio.get_running_loop()
    connected = [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in asked]

    async def one(client: Client, contents: list[bytes]) -> list[Answer]:
        return [await client.ask(content) for content in contents]

    before = np.array([time.perf_counter(), *processor_time(process), time.process_time()])
    answers = [answer for several in await asyncio.gather(*map(one, connected, asked)) for answer in several]
    spent = np.array([time.perf_counter(), *processor_time(process), time.process_time()]) - before
    for client in connected:
        client.transport.close()
    first = 1000 * np.array([times[1] - times[0] for times, _ in answers if len(times) > 1])
    between = 1000 * np.concatenate([np.diff(times[1:]) for times, _ in answers])
    written = sum(answer.tokens for answer in answers)
    return Figures(
        written / float(spent[0]),
        *(float(np.percentile(figures, q)) for figures in (first, between) for q in (50, 99)),
        *(1000 * spent[1:] / written).tolist(),
    )


def processor_time(process: int) -> tuple[float, float]:
    """Return the processor seconds of a process, and of its first thread, which is the event loop's."""

    def seconds(path: str) -> float:
        fields = Path(path).read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    return seconds(f"/proc/{process}/stat"), seconds(f"/proc/{process}/task/{process}/stat")


def engine_figures(model: intact.Model, asked: list[list[int]], tokens: int) -> Figures:
    """Measure the same texts with the library."""
    written, began, before = 0, time.perf_counter(), time.process_time()
    for turn in range(ROUNDS):
        prompts = [model.tokenizer.encode_chat(messages(numbers[turn])) for numbers in asked]
        rows = model.generate(prompts, max_tokens=tokens, **SAMPLING)
        written += sum(len(row[0].tokens) for row in rows)
    seconds, spent = time.perf_counter() - began, time.process_time() - before
    return Figures(written / seconds, *[NONE] * 4, 1000 * spent / written, NONE, NONE)


def server_commands(path: Path, llama: str | None) -> dict[str, list[str]]:
    """Return commands that serve a model as `served`, by server name; `llama` has llama-cpp-python's server."""
    commands = {"intact": [sys.executable, "-m", "intact", "serve", f"served={path}"]}
    if llama:
        command = [llama, "-m", "llama_cpp.server", "--model", str(path), "--model_alias", "served"]
        # by default, a new request cancels the previous one; this makes requests wait instead
        command += ["--interrupt_requests", "false", "--n_threads", str(len(os.sched_getaffinity(0)))]
        commands["llama-cpp-python"] = [*command, "--n_ctx", "4096"]
    return commands


@contextmanager
def served(command: list[str]) -> Iterator[tuple[int, int]]:
    """Run a server, and yield its port and its process."""
    port = free_port()
    command = [*command, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, f"{command[0]} ended"
            try:
                if httpx.get(url + "/v1/models", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def told(server: str, clients: int, turns: list[Figures], engine: list[Figures]) -> dict[str, object]:
    """Print a row: medians over turns."""
    medians = Figures(*np.median(turns, 0).tolist())
    shares = sorted(own.rate / best.rate for own, best in zip(turns, engine, strict=False))
    spread = "" if turns is engine else f"{np.median(shares):.0%} ({shares[0]:.0%}-{shares[-1]:.0%})"
    shown = ["" if value != value else f"{value:.2f}" if value < 10 else f"{value:.1f}" for value in medians]
    cells = [str(clients), shown[0], spread, *shown[1:]]
    print(f"{server:18}", *(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)), flush=True)
    known = {name: value for name, value in medians._asdict().items() if value == value}
    return {"server": server, "clients": clients, "turns": len(turns), "of_engine": shares, **known}


WIDTHS = (7, 9, 15, 9, 8, 9, 8, 8, 8, 8)


def main() -> None:
    """Parse the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of turns of the engine and of the server (default 3)"
    )
    parser.add_argument("--llama", metavar="PYTHON")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    path = resolve(options.model)
    rows = []
    titles = ("clients", "tokens/s", "of the engine's", "p50", "p99", "p50", "p99", "server", "its loop", "clients")
    print(f"{'':52}{'first token, ms':>18} {'between tokens, ms':>18}  {'processor ms a token':>24}")
    print(f"{'':18}", *(f"{title:>{width}}" for title, width in zip(titles, WIDTHS, strict=True)))
    model = intact.load(path)
    with ExitStack() as stack:
        stack.callback(model.close)
        servers = {
            name: stack.enter_context(served(command)) for name, command in server_commands(path, options.llama).items()
        }
        model.generate(model.tokenizer.encode_chat(messages(0)), max_tokens=4)
        for server in servers.values():
            asyncio.run(measure(*server, [[content(0, 4)]]))
        number = count(1)
        for clients in options.clients:
            turns: dict[str, list[Figures]] = {name: [] for name in ("engine", *servers)}
            for turn in range(options.repeats):
                asked = [list(islice(number, ROUNDS)) for _ in range(clients)]
                turns["engine"].append(engine_figures(model, asked, options.tokens))
                bodies = [[content(one, options.tokens) for one in numbers] for numbers in asked]
                for name in list(servers)[: None if turn == 0 else 1]:
                    turns[name].append(asyncio.run(measure(*servers[name], bodies)))
            rows += [told(name, clients, figures, turns["engine"]) for name, figures in turns.items()]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
