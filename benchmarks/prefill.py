"""Measure remote prefill: another process computes a prompt and sends its pages, against computing it locally.

    python benchmarks/prefill.py smollm2-135m [--prompt 1024] [--repeats 3] [--threads N] [--megabits R]

Each round has its own prompt of random tokens. It is computed locally; then by a second process on this machine, which
sends the pages of its cache; and then requested again, so the second process already has its pages and only sends them.
The first token is drawn with the received pages, and compared. Prints medians over the rounds, and the received bytes.
On one machine both sides share the cores; the gain, that prompts do not delay steps of other requests, needs two
machines. With --megabits, the second process listens as `intact shard` does, and its data pass a relay with that many
megabits per second, which shows how much of the sending overlaps with computing the prompt.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
from common import machine, parser

import intact
from intact.engine.engine import Engine
from intact.engine.head_job import HeadJob
from intact.engine.page_store import page_key
from intact.executors.settings import ExecutorSettings
from intact.library.parallel.prompts import PromptClient
from intact.library.parallel.ranks import Rank
from intact.library.parallel.start import start_prompts


class Cost(NamedTuple):
    """Costs of a prompt: seconds to compute it locally, to have it computed and sent, and sent only; bytes received."""

    here: float
    there: float
    sent: float
    bytes: float


def measure(model: intact.Model, client: PromptClient, tokens: list[int]) -> tuple[Cost, bool]:
    """Run one round, and return whether the head's inputs are the same with received pages."""
    size, text = model.executor.page_size, np.array(tokens, np.int32)
    keys, key = [], client.box.root
    for start in range(0, len(tokens) - size, size):
        key = page_key(key, text[start : start + size].tobytes())
        keys.append(key)
    began = time.perf_counter()
    expected, _ = _head(model, tokens)
    here = time.perf_counter() - began
    before, began = client.channel.received, time.perf_counter()
    client.fetch(text[: len(keys) * size + 1], keys, 0)
    there = time.perf_counter() - began
    moved, began = client.channel.received - before, time.perf_counter()
    client.fetch(text[: len(keys) * size + 1], keys, 0)
    sent = time.perf_counter() - began
    found, prefilled = _head(model, tokens, client)
    return Cost(here, there, sent, moved), found == expected and prefilled <= size


def _head(model: intact.Model, tokens: list[int], client: PromptClient | None = None) -> tuple[bytes, int]:
    """Return the head's inputs after a prompt, on a separate engine, and the number of rows that it ran."""
    engine = Engine(model.executor, model.context, stores=[] if client is None else [client.box])
    job = HeadJob(tokens)
    job.request.adapter = -1
    engine.add(job.request)
    while not job.done:
        engine.step()
    return job.result(), engine.counters.prefilled


SHARD = """
import sys
from pathlib import Path
from intact.library.parallel.shard import listen_at, serve_shard
listener = listen_at(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
serve_shard(listener, Path(sys.argv[1]))
"""


@contextmanager
def slow_shard(path: Path, rate: float) -> Iterator[Rank]:
    """Start a shard, and yield the address of a relay that limits its bytes per second."""
    with subprocess.Popen([sys.executable, "-c", SHARD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        listener = socket.create_server(("127.0.0.1", 0))
        Thread(target=relay, args=(listener, port, rate), daemon=True).start()
        try:
            yield Rank(listener.getsockname()[:2])
        finally:
            listener.close()
            process.kill()


def relay(listener: socket.socket, port: int, rate: float) -> None:
    """Relay one connection; data from the port are delayed."""
    own, _ = listener.accept()
    its = socket.create_connection(("127.0.0.1", port))
    Thread(target=pump, args=(own, its, 0.0), daemon=True).start()
    pump(its, own, 1 / rate)


def pump(source: socket.socket, target: socket.socket, seconds: float) -> None:
    """Forward bytes until one side ends, with a delay per byte."""
    with suppress(OSError):
        while data := source.recv(1 << 14):
            time.sleep(len(data) * seconds)
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def run(path: Path, prompt: int, repeats: int, threads: int | None, megabits: float) -> None:
    """Measure one model and print."""
    random = np.random.default_rng(1)
    place = slow_shard(path, megabits * 1e6 / 8) if megabits else nullcontext(Rank())
    with intact.load(path, threads=threads, drafter="off", prefix_cache=False) as model, place as rank:
        settings = ExecutorSettings("int8", 8, model.executor.page_size, "native", threads)
        client = start_prompts(model.checkpoint, model.program, rank, settings, model.executor, 1 << 30)
        prompts = [[int(t) for t in random.integers(100, 1000, prompt)] for _ in range(repeats + 1)]
        rounds = [measure(model, client, tokens) for tokens in prompts][1:]  # the first warms up
        client.close()
    cost = Cost(*(statistics.median(values) for values in zip(*(one for one, _ in rounds), strict=True)))
    print(" · ".join(map(str, (path.name, *machine().values(), f"{prompt} tokens, medians of {repeats}"))))
    print(f"heads equal: {all(same for _, same in rounds)}")
    print("here ms  there ms  sent ms  MB    MB/s")
    rate = cost.bytes / 1e6 / cost.sent
    print(
        f"{cost.here * 1e3:7.0f}  {cost.there * 1e3:8.0f}  {cost.sent * 1e3:7.0f}  {cost.bytes / 1e6:4.1f}  {rate:4.0f}"
    )


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__, text=False)
    arguments.add_argument("--prompt", type=int, default=1024)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--megabits", type=float, default=0.0)
    options = arguments.parse_args()
    for path in options.models:
        run(path, options.prompt, options.repeats, options.threads, options.megabits)


if __name__ == "__main__":
    main()
