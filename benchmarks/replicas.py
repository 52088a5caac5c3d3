"""Compare two replicas of a model with one process, and routing by cached pages with random routing.

    python benchmarks/replicas.py smollm2-135m [--clients 64] [--tokens 32] [--repeats 3]

Throughput: a server with two threads, and a server with two replicas of one thread each (`intact serve --ray local`),
answer the same requests of many clients in turns, so that changes in the machine's speed affect both alike. Prints
median, minimum and maximum of tokens per second, and of the replicas' ratio in each turn.

Routing: two servers with two replicas each, one that sends a request to the replica that has its prefix cached, and one
that sends it to any replica (`--route random`), answer requests with 20 system prompts in turns, in an order drawn from
a seed; each turn has its own system prompts. Prints the share of prompt tokens that the cache saved, and seconds.

The texts of both sides are compared: they must be the same.
"""

from __future__ import annotations

import json
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from common import machine, parser

SYSTEMS = 20
"""Number of system prompts per turn of routing."""
PER_SYSTEM = 6
"""Number of requests per system prompt."""
AT_A_TIME = 8
"""Number of clients for routing."""
WORDS = [
    "river",
    "stone",
    "window",
    "garden",
    "letter",
    "winter",
    "engine",
    "silver",
    "market",
    "forest",
    "candle",
    "bridge",
    "copper",
    "meadow",
    "harbour",
    "ladder",
    "ribbon",
    "castle",
    "valley",
    "signal",
]
SETTLE = 2.5
"""Seconds until all replicas have reported their counters again."""


@contextmanager
def served(path: Path, words: list[str]) -> Iterator[int]:
    """Run a server, wait until it is fully ready, and yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "intact.cli", "serve", f"served={path}", "--port", str(port), "--no-socket"]
    process = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not ready(port, 2.0 if "--replicas" in words else None):
            assert process.poll() is None, "the server ended"
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(90)


def ready(port: int, replicas: float | None) -> bool:
    """Return true if a server answers and has the required number of replicas."""
    try:
        if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=2).status_code != 200:
            return False
        return replicas is None or f"intact_replicas {replicas}" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.HTTPError:
        return False


def asked(port: int, bodies: list[dict[str, Any]], clients: int) -> tuple[list[str], float, int]:
    """Send requests to a server, `clients` at a time; return texts, seconds and the number of generated tokens."""
    with httpx.Client(timeout=600, limits=httpx.Limits(max_connections=clients)) as client:

        def one(body: dict[str, Any]) -> dict[str, Any]:
            reply = client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
            reply.raise_for_status()
            return reply.json()  # type: ignore[no-any-return]

        with ThreadPoolExecutor(clients) as pool:
            began = time.perf_counter()
            replies = list(pool.map(one, bodies))
            seconds = time.perf_counter() - began
    texts = [reply["choices"][0]["message"]["content"] for reply in replies]
    return texts, seconds, sum(reply["usage"]["completion_tokens"] for reply in replies)


def body(user: str, tokens: int, system: str = "You are a helpful assistant.") -> dict[str, Any]:
    """Return the body of a request."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return {"model": "served", "messages": messages, "max_tokens": tokens, "temperature": 1.0, "seed": 1}


def throughput(ports: dict[str, int], clients: int, tokens: int, repeats: int) -> list[dict[str, Any]]:
    """Measure the tokens per second of both servers, in turns."""
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for turn in range(repeats):
        bodies = [body(f"What is special about the number {clients * turn + i}?", tokens) for i in range(clients)]
        texts = {}
        for name in sorted(ports, reverse=turn % 2 == 1):
            texts[name], seconds, written = asked(ports[name], bodies, clients)
            rates[name].append(written / seconds)
        one, other = texts.values()
        assert one == other, "the texts differ"
    first, second = rates.values()
    shares = [b / a for a, b in zip(first, second, strict=True)]
    rows = [{"what": f"{name}, tokens/s", **spread(values)} for name, values in rates.items()]
    return [*rows, {"what": "share of the one process", **spread(shares)}]


def routing(ports: dict[str, int], repeats: int) -> list[dict[str, Any]]:
    """Measure seconds and the share of tokens that the cache saved, by route, in turns."""
    found: dict[str, dict[str, list[float]]] = {name: {"hits": [], "seconds": []} for name in ports}
    for turn in range(repeats):
        rng = random.Random(turn)
        systems = [" ".join([f"Prompt {turn}/{i}.", *rng.choices(WORDS, k=400)]) for i in range(SYSTEMS)]
        bodies = [body(f"Question {i}?", 2, system) for system in systems for i in range(PER_SYSTEM)]
        rng.shuffle(bodies)
        texts = {}
        for name in sorted(ports, reverse=turn % 2 == 1):
            before = cached(ports[name])
            texts[name], seconds, _ = asked(ports[name], bodies, AT_A_TIME)
            after = cached(ports[name])
            saved, computed = after[0] - before[0], after[1] - before[1]
            found[name]["hits"].append(saved / (saved + computed))
            found[name]["seconds"].append(seconds)
        one, other = texts.values()
        assert one == other, "the texts differ"
    return [{"what": f"{name}, {kind}", **spread(v)} for name, both in found.items() for kind, v in both.items()]


def cached(port: int) -> tuple[float, float]:
    """Return the number of prompt tokens that a server's caches have saved, and of those computed."""
    time.sleep(SETTLE)
    totals = {"cached_tokens": 0.0, "prefilled": 0.0}
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines():
        for name in totals:
            if line.startswith(f"intact_engine_{name}_total"):
                totals[name] += float(line.rpartition(" ")[2])
    return totals["cached_tokens"], totals["prefilled"]


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median, the minimum and the maximum."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "turns": len(values)}


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows."""
    for row in rows:
        print(f"{row['what']:44}{row['median']:10.3f}  ({row['least']:.3f} to {row['most']:.3f})", flush=True)


def main() -> None:
    """Parse the arguments, measure and print."""
    options = parser(__doc__, text=False)
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--tokens", type=int, default=32)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--json", type=Path, metavar="FILE")
    given = options.parse_args()
    (path,) = given.models
    two = ["--ray", "local", "--replicas", "2", "--threads", "1"]
    rows: list[dict[str, Any]] = []
    print(json.dumps(machine()))
    with ExitStack() as stack:
        commands = {"one process, 2 threads": ["--threads", "2"], "two replicas, 1 thread each": two}
        ports = {name: stack.enter_context(served(path, words)) for name, words in commands.items()}
        for port in ports.values():
            asked(port, [body(f"Warm up {i}.", 4) for i in range(8)], 8)
        show(found := throughput(ports, given.clients, given.tokens, given.repeats))
        rows += found
    with ExitStack() as stack:
        commands = {route: [*two, "--route", route] for route in ("prefix", "random")}
        ports = {name: stack.enter_context(served(path, words)) for name, words in commands.items()}
        show(found := routing(ports, given.repeats))
        rows += found
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
