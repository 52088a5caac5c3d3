"""Send many requests to a server, abandon many of them early, read some slowly; check for leaks and wrong answers.

    python benchmarks/serve_soak.py [--model PATH] [--requests 24000] [--clients 64] [--seed 0]

The server runs in a child process, on a loopback address. Every answer that was read to its end is compared with
the library's answer to the same request alone. At the end, the server's counters must be back where they were after the
warm-up: no active request, no held page, no additional open files, threads or tasks, and hardly more memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

import intact

PROMPTS = 24
SEEDS = 4
LENGTHS = (4, 12, 40)
PAGE = 32  # tokens


def request_of(number: int) -> dict[str, object]:
    """Return one of a few hundred different requests."""
    draw = random.Random(number)
    return {
        "model": "soaked",
        "messages": [
            {"role": "user", "content": f"Question {draw.randrange(PROMPTS)}: " + "why? " * draw.randrange(9)}
        ],
        "max_tokens": draw.choice(LENGTHS),
        "seed": draw.randrange(SEEDS),
        "temperature": 0.8,
    }


def text_of(lines: list[str]) -> str:
    """Return the text of a stream's events."""
    pieces = [json.loads(line[6:])["choices"] for line in lines if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for choices in pieces for choice in choices)


class Soak:
    """Clients working on a list of requests."""

    def __init__(self, url: str, expected: dict[str, str]) -> None:
        self.url, self.expected = url, expected
        self.counts: Counter[str] = Counter()
        self.wrong: list[object] = []

    async def ask(self, client: httpx.AsyncClient, number: int, draw: random.Random) -> None:
        """Send one request in one of several ways."""
        body = request_of(number)
        manner = draw.choices(["whole", "stream", "leave", "slow", "hang up"], [4, 4, 2, 1, 1])[0]
        try:
            if manner == "whole":
                answer = await client.post("/v1/chat/completions", json=body)
                if answer.status_code == 429:
                    self.counts["turned away"] += 1
                    return
                self.check(body, answer.json()["choices"][0]["message"]["content"])
            elif manner == "hang up":
                await asyncio.wait_for(client.post("/v1/chat/completions", json=body), draw.random() * 0.05)
            else:
                await self.read(client, body, manner, draw)
            self.counts[manner] += 1
        except TimeoutError:
            self.counts["hung up"] += 1
        except httpx.HTTPError as error:
            self.counts[f"error {type(error).__name__}"] += 1

    async def read(self, client: httpx.AsyncClient, body: dict[str, object], manner: str, draw: random.Random) -> None:
        """Read a stream: to its end, slowly, or only in part."""
        lines: list[str] = []
        leave_at = draw.randrange(1, 12) if manner == "leave" else None
        async with client.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as answer:
            if answer.status_code == 429:
                self.counts["turned away"] += 1
                return
            async for line in answer.aiter_lines():
                lines.append(line)
                if leave_at is not None and len(lines) >= leave_at:
                    return
                if manner == "slow":
                    await asyncio.sleep(draw.random() * 0.02)
        self.check(body, text_of(lines))

    def check(self, body: dict[str, object], text: str) -> None:
        """Compare an answer with the library's."""
        if text != self.expected[json.dumps(body, sort_keys=True)]:
            self.wrong.append((body, text))


async def soak(url: str, numbers: list[int], clients: int, expected: dict[str, str], seed: int) -> Soak:
    """Let concurrent clients send all requests."""
    work, waiting = Soak(url, expected), iter(numbers)

    async def one(who: int) -> None:
        draw = random.Random(f"{seed} {who}")
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            for number in waiting:
                await work.ask(client, number, draw)

    await asyncio.gather(*[one(who) for who in range(clients)])
    return work


def figures(process: int, url: str) -> dict[str, float]:
    """Return the counters of resources that could leak."""
    for _ in range(600):
        told = dict(line.rsplit(" ", 1) for line in httpx.get(url + "/metrics").text.splitlines() if line[0] != "#")
        held = float(told['intact_cache_pages{model="soaked",state="held"}'])
        inside = float(told['intact_requests_running{model="soaked"}'])
        if not held and not inside:
            break
        time.sleep(0.1)
    idle = float(told['intact_cache_pages{model="soaked",state="idle"}'])
    cache = PAGE * (held + idle) * float(told['intact_cache_bytes_per_token{model="soaked"}'])
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "requests inside": inside,
        "requests waiting": float(told['intact_requests_waiting{model="soaked"}']),
        "pages held": held,
        "tasks": float(told["intact_tasks"]),
        "open files": len(list(Path(f"/proc/{process}/fd").iterdir())),
        "threads": int(fields["Threads"]),
        "cache MB": cache / 1e6,
        "other memory MB": int(fields["VmRSS"].split()[0]) * 1024 / 1e6 - cache / 1e6,
    }


def main() -> None:
    """Parse the arguments, run, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--requests", type=int, default=24_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "intact", "serve", f"soaked={options.model}"]
    command += ["--port", str(port), "--cache", "200MB", "--waiting", "48", "--running", "64"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"INTACT_THREADS": "2"})
    url = f"http://127.0.0.1:{port}"
    try:
        numbers = list(range(options.requests))
        model = intact.load(options.model)
        bodies = {json.dumps(request_of(number), sort_keys=True): request_of(number) for number in numbers}
        print(f"{len(numbers):,} requests, {len(bodies):,} of them different", flush=True)
        expected = {
            name: model.chat(
                body["messages"], max_tokens=body["max_tokens"], seed=body["seed"], temperature=body["temperature"]
            ).text
            for name, body in bodies.items()
        }
        model.close()
        while True:
            try:
                if httpx.get(url + "/ready").status_code == 200:
                    break
            except httpx.ConnectError:
                assert server.poll() is None, "the server did not start"
            time.sleep(0.2)
        warm = max(1, options.requests // 10)
        asyncio.run(soak(url, numbers[:warm], options.clients, expected, options.seed))
        before = figures(server.pid, url)
        began = time.monotonic()
        work = asyncio.run(soak(url, numbers[warm:], options.clients, expected, options.seed + 1))
        seconds = time.monotonic() - began
        after = figures(server.pid, url)
    finally:
        server.terminate()
        server.wait(60)
    print(f"{len(numbers) - warm:,} requests in {seconds:.0f} s: {dict(sorted(work.counts.items()))}")
    print(f"answers that are wrong: {len(work.wrong)}")
    for name, value in before.items():
        print(f"{name:18} {value:10.1f} before {after[name]:10.1f} after")
    lost = len(numbers) - warm - sum(work.counts.values())
    leaks = [name for name in before if "MB" not in name and after[name] > before[name] + 8]
    grown = after["other memory MB"] > 1.2 * before["other memory MB"] + 50
    if work.wrong or lost > 0 or leaks or grown:
        sys.exit(f"failed: {len(work.wrong)} wrong, {lost} lost, leaks: {leaks}, memory grew: {grown}")


if __name__ == "__main__":
    main()
