"""Compare servers at 1, 8 and 64 clients: throughput, time to the first token, time between tokens.

    python benchmarks/serve.py [--model PATH] [--clients 1 8 64] [--tokens 64] [--llama PYTHON] [--json FILE]

Each client streams one answer after the other; all share a system prompt, and each has a question of its own. `engine`
is the same work in one call of `Model.generate`, without a server: what `intact serve` could reach at best. `--llama`
names an interpreter that has llama-cpp-python with its server, which is measured too. Load that other processes make
shows in every figure: run it on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

import intact
from intact.catalogue import DEFAULT, resolve

SYSTEM = "You are a patient teacher. Explain what you are asked in plain words, with an example. " * 12
ROUNDS = 2


class Figures(NamedTuple):
    """What clients saw: tokens a second in all; milliseconds to the first token and between tokens."""

    rate: float
    first: float
    first99: float
    between: float
    between99: float


def messages(number: int) -> list[dict[str, str]]:
    """A conversation of its own for each request."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"What is special about the number {number}?"},
    ]


async def ask(client: httpx.AsyncClient, number: int, tokens: int) -> list[float]:
    """Stream one answer; when it was asked for, and when each piece of text came."""
    body = {"model": "served", "messages": messages(number), "max_tokens": tokens, "stream": True, "temperature": 0.8}
    times = [time.perf_counter()]
    async with client.stream("POST", "/v1/chat/completions", json=body | {"seed": number}) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and any(c["delta"].get("content") for c in json.loads(line[6:])["choices"]):
                times.append(time.perf_counter())
    return times


async def measure(url: str, clients: int, tokens: int) -> Figures:
    """Have so many clients ask, each some times."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        await ask(client, 0, 4)

        async def one(who: int) -> list[list[float]]:
            return [await ask(client, 1 + who * ROUNDS + i, tokens) for i in range(ROUNDS)]

        began = time.perf_counter()
        answers = [times for several in await asyncio.gather(*map(one, range(clients))) for times in several]
        seconds = time.perf_counter() - began
    first = 1000 * np.array([times[1] - times[0] for times in answers if len(times) > 1])
    between = 1000 * np.concatenate([np.diff(times[1:]) for times in answers])
    pieces = sum(len(times) - 1 for times in answers)
    return Figures(
        pieces / seconds,
        *(float(np.percentile(figures, q)) for figures in (first, between) for q in (50, 99)),
    )


def engine_rate(path: Path, clients: int, tokens: int) -> float:
    """Tokens a second of the same texts in the library."""
    model = intact.load(path)
    model.generate("warm", max_tokens=2)
    written, seconds = 0, 0.0
    for turn in range(ROUNDS):
        prompts = [model.tokenizer.encode_chat(messages(1 + who * ROUNDS + turn)) for who in range(clients)]
        began = time.perf_counter()
        rows = model.generate(prompts, max_tokens=tokens, temperature=0.8, seed=1)
        seconds += time.perf_counter() - began
        written += sum(len(row[0].tokens) for row in rows)
    model.close()
    return written / seconds


@contextmanager
def served(command: list[str], port: int) -> Iterator[str]:
    """Run a server."""
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
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--llama", metavar="PYTHON")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    path = resolve(options.model)
    port, threads = free_port(), str(len(os.sched_getaffinity(0)))
    main_ = "from intact.cli import main; main()"
    servers = {"intact": [sys.executable, "-c", main_, "serve", f"served={path}", "--port", str(port)]}
    if options.llama:
        command = [options.llama, "-m", "llama_cpp.server", "--model", str(path), "--port", str(port)]
        # by default a new request ends the one before it; told not to, the requests wait for each other
        command += ["--interrupt_requests", "false", "--n_threads", threads, "--n_ctx", "4096"]
        servers["llama-cpp-python"] = [*command, "--model_alias", "served"]
    rows: list[dict[str, object]] = []
    print(f"{'':18} clients  tokens/s   first token p50, p99 ms   between tokens p50, p99 ms")
    for clients in options.clients:
        rate = engine_rate(path, clients, options.tokens)
        print(f"{'engine':18} {clients:7} {rate:9.1f}", flush=True)
        rows.append({"server": "engine", "clients": clients, "rate": rate})
    for name, command in servers.items():
        with served(command, port) as url:
            for clients in options.clients:
                f = asyncio.run(measure(url, clients, options.tokens))
                print(
                    f"{name:18} {clients:7} {f.rate:9.1f} {f.first:14.0f} {f.first99:8.0f} "
                    f"{f.between:18.1f} {f.between99:8.1f}",
                    flush=True,
                )
                rows.append({"server": name, "clients": clients, **f._asdict()})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
