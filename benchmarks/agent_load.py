"""Run an agent's tests hundreds of times under random load, and count the answers that change.

    python benchmarks/agent_load.py avx512 --runs 500 --results runs.jsonl
    python benchmarks/agent_load.py llama.cpp --llama-server llama-server --runs 100 --results runs.jsonl
    python benchmarks/agent_load.py --results runs.jsonl

The tests are those of examples/agent_test. A run executes all of them once, in one process, one after the other;
several runs are in progress at a time. Each round of runs draws its load from the seed: the number of stranger clients
that request random texts at the same time (0 to 31), the number of concurrent runs, and whether the server is restarted
first, with one thread or two, and with or without the prefix cache. Every answer is compared with the example's lock
file, so intact's answers under load are compared with those that it gave without load when the lock was written.
llama.cpp is compared with its own answers without load, with two threads, before the first round.

Each run is a line of the results file; an interrupted command continues from there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent_servers import Server
from agent_strangers import ask_on
from agent_worker import EXAMPLE, Agents
from common import Lines, machine, model_path
from scipy.stats import beta

SIDES = ("scalar", "avx2", "avx512", "llama.cpp")
STRANGERS = 31
Tests = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Round:
    """The load during some runs.

    Attributes
    ----------
    strangers, together : int
        Number of stranger clients, and of concurrent runs.
    restart : bool
        If true, restart the server with `threads` and `cache`; otherwise it keeps its settings.
    """

    number: int
    strangers: int
    together: int
    restart: bool
    threads: int
    cache: bool


def draw_round(seed: int, side: str, number: int, agents: int) -> Round:
    """Draw a round's load; the prefix cache is on in two rounds of three."""
    draw = random.Random(f"{seed} {side} {number}")
    return Round(
        number=number,
        strangers=draw.randrange(STRANGERS + 1),
        together=draw.randrange(1, agents + 1),
        restart=draw.random() < 1 / 3,
        threads=draw.choice((1, 2)),
        cache=draw.random() < 2 / 3,
    )


def changes(locked: Mapping[str, Sequence[Mapping[str, Any]]], found: Tests) -> list[dict[str, Any]]:
    """Return the answers that differ from the lock.

    A request that is not in the lock, or one that was not sent, is a consequence of an earlier changed answer, so it is
    counted only if no answer changed.
    """
    changed, others = [], []
    for test, exchanges in found.items():
        answers = {one["request"]: one["answer"] for one in locked[test]}
        for one in exchanges:
            if one["request"] not in answers:
                others.append({"test": test, "asked": one["asked"], "locked": None, "now": one["answer"]})
            elif one["answer"] != (before := answers[one["request"]]):
                changed.append({"test": test, "asked": one["asked"], "locked": before, "now": one["answer"]})
        if len(exchanges) < len(locked[test]):
            others.append({"test": test, "asked": None, "locked": len(locked[test]), "now": len(exchanges)})
    return changed or others


async def run_round(agents: Agents, runs: Sequence[int], load: Round, url: str, keep: Callable[..., None]) -> None:
    """Run the tests once per number, together with strangers that stop when all runs end; keep each run as it ends."""
    counts: Counter[str] = Counter()
    draws = [random.Random(f"{load} {who}") for who in range(load.strangers)]
    strangers = [asyncio.create_task(ask_on(url, draw, counts)) for draw in draws]
    began = time.monotonic()

    async def one(who: int) -> None:
        tests = await agents.run(who)
        keep(runs[who], tests, {"seconds": round(time.monotonic() - began, 1), "strangers_did": dict(counts)})

    try:
        await asyncio.gather(*map(one, range(len(runs))))
    finally:
        for stranger in strangers:
            stranger.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)


def exchanges_of(tests: Mapping[str, Any]) -> Tests:
    """Return the exchanges of each test of a run."""
    return {name: test["exchanges"] for name, test in tests.items()}


class Campaign:
    """All runs against one server."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.lines = args, Lines(args.results)
        self.mine = [line for line in self.lines.all if (line.get("side"), line.get("seed")) == (args.side, args.seed)]
        self.server = Server(args.side, args.model, args.llama_server, args.results.with_suffix(".log"))
        self.agents = Agents(args.agents, self.server.url)  # before any thread: they are forked

    def add(self, record: Mapping[str, Any]) -> None:
        """Store a record."""
        record = {"side": self.args.side, "seed": self.args.seed, **record}
        self.mine.append(record)
        self.lines.add(record)

    def locked(self) -> Tests:
        """Return the answers to compare with."""
        if self.args.side != "llama.cpp":
            return dict(json.loads((EXAMPLE / "answers.json").read_text("utf-8"))["tests"])
        if not any("alone" in line for line in self.mine):
            self.server.start(threads=2, cache=True)
            self.add({"alone": exchanges_of(asyncio.run(self.agents.run(0))), "machine": machine()})
        return dict(next(line["alone"] for line in self.mine if "alone" in line))

    def go_on(self) -> None:
        """Run the missing runs until the time limit."""
        args, locked = self.args, self.locked()
        running: dict[str, Any] = {}  # no server yet
        until = time.monotonic() + 60 * args.minutes
        number = 1 + max((line["round"]["number"] for line in self.mine if "round" in line), default=-1)
        while (left := missing(self.mine, args.runs)) and time.monotonic() < until:
            load = draw_round(args.seed, args.side, number, args.agents)
            if load.restart or not running:
                running = {"threads": load.threads, "cache": load.cache}
                self.server.start(**running)
            load = replace(load, **running)
            at = {"round": asdict(load)}

            def keep(run: int, tests: Mapping[str, Any], more: Mapping[str, Any], at: Mapping[str, Any] = at) -> None:
                self.add({"run": run, **summary(tests, locked), **more, **at})

            asyncio.run(run_round(self.agents, left[: load.together], load, self.server.url, keep))
            done = ", ".join(f"{value} {name}" for name, value in row(self.mine).items())
            print(f"{time.strftime('%H:%M:%S')} {load}: {done}", file=sys.stderr, flush=True)
            number += 1

    def close(self) -> None:
        """Stop all processes."""
        self.agents.close()
        self.server.stop()


def summary(tests: Mapping[str, Any], locked: Tests) -> dict[str, Any]:
    """Return the record of a run's tests."""
    exchanges = exchanges_of(tests)
    return {
        "answers": sum(map(len, exchanges.values())),
        "changed": changes(locked, exchanges),
        "failed": {name: test["failed"] for name, test in tests.items() if test["failed"]},
        "errors": {name: test["error"] for name, test in tests.items() if test["error"]},
    }


def finished(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the runs that did not end with an error."""
    return [line for line in lines if "run" in line and not line["errors"]]


def missing(lines: Iterable[Mapping[str, Any]], runs: int) -> list[int]:
    """Return the numbers of the remaining runs, including those that ended with an error."""
    done = {line["run"] for line in finished(lines)}
    return [run for run in range(runs) if run not in done]


def upper_bound(changed: int, runs: int) -> float:
    """Return the 95% upper bound of a rate (Clopper and Pearson 1934, one-sided); about 3 / runs if nothing changed."""
    return 1.0 if changed == runs else float(beta.ppf(0.95, changed + 1, runs - changed))


def row(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the table's figures for one server."""
    lines = list(lines)
    runs = finished(lines)
    hit = sum(bool(line["changed"]) for line in runs)
    return {
        "runs": len(runs),
        "answers": sum(line["answers"] for line in runs),
        "changed answers": sum(len(line["changed"]) for line in runs),
        "runs with a change": hit,
        "at most": f"{upper_bound(hit, len(runs)):.2%}",
        "runs with a failed test": sum(bool(line["failed"]) for line in runs),
        "runs that an error ended": sum(bool(line.get("errors")) for line in lines),
        "strangers' answers": sum(
            max(line["strangers_did"].get("answered", 0) for line in runs if line["round"]["number"] == number)
            for number in {line["round"]["number"] for line in runs}
        ),
    }


def show(lines: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print the table as Markdown or JSON."""
    sides = [side for side in SIDES if finished(line for line in lines if line["side"] == side)]
    rows = {side: row(line for line in lines if line["side"] == side) for side in sides}
    if as_json:
        print(json.dumps({"machine": machine(), "sides": rows}, indent=1))
        return
    names = list(rows[sides[0]]) if sides else []
    print("| server | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for side, figures in rows.items():
        cells = [f"{value:,}" if isinstance(value, int) else str(value) for value in figures.values()]
        print(f"| {side} | " + " | ".join(cells) + " |")


def main() -> None:
    """Parse the arguments, run, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "side", choices=SIDES, nargs="?", help="a tier of intact, or llama.cpp; without it, only print the results"
    )
    parser.add_argument("--results", type=Path, default=Path("agent_load.jsonl"), help="results file")
    parser.add_argument(
        "--runs", type=int, default=500, help="total number of runs, including those in the results file"
    )
    parser.add_argument("--minutes", type=float, default=120, help="start no round after this many minutes")
    parser.add_argument("--agents", type=int, default=16, help="maximum number of concurrent runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the load")
    parser.add_argument(
        "--model", type=model_path, default="qwen-coder-0.5b", help="model for which the lock was written"
    )
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's program llama-server")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if args.side == "llama.cpp" and args.llama_server is None:
        parser.error("llama.cpp needs --llama-server")
    if args.runs < 1 or args.agents < 1:
        parser.error("--runs and --agents must be at least 1")
    if args.side:
        campaign = Campaign(args)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # processes are ended, too
        try:
            campaign.go_on()
        finally:
            campaign.close()
    show(Lines(args.results).all, args.json)


if __name__ == "__main__":
    main()
