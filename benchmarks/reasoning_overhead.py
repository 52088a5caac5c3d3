"""Measure the overhead of methods, driver and journal over the engine, at 64 samples.

The engine runs on one thread, so all work is done by the calling thread, whose processor time is counted: that of the
engine's steps, and everything else. Waiting for the journal's disk takes no processor time; it is reported separately
as wall time. The smallest model and the shortest texts are the hardest case.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import common

import intact
from intact.engine.engine import Engine
from intact.reason import Problem, find
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob
from intact.solving.run import read_answer, solve_all

METHODS: dict[str, dict[str, Any]] = {
    "self_consistency": {"n": 64},
    "rpc": {"n": 64},
    "best_of_n": {"n": 64},
    "short_m_at_k": {"k": 64, "m": 16},
    "particle_filter": {"n": 64, "steps": 6},
    "self_certainty": {"n": 64},
    "deepconf": {"n": 64},
    "deepconf_online": {"n": 64, "max_tokens": 128, "window": 32},
    "best_of_majority": {"n": 64},
    "adaptive_consistency": {"n": 64, "threshold": 1, "batch": 16},
    "beam_search": {"n": 64, "steps": 6},
    "dvts": {"n": 64, "steps": 6},
    "rebase": {"n": 64, "steps": 6},
    "smc": {"n": 64, "steps": 6},
    "entropic_particle_filter": {"n": 64, "steps": 6},
    "uct_search": {"simulations": 16, "width": 4, "steps": 6},
}
QUESTION = "A farm has 17 cows and three times as many hens. How many legs do they have together? Think step by step."


class Share(NamedTuple):
    """Processor seconds of the calling thread, and wall seconds of commits."""

    method: str
    journal: bool
    tokens: int
    total: float
    engine: float
    commits: float

    @property
    def overhead(self) -> float:
        """The part of all processor time that is not the engine's."""
        return 1 - self.engine / self.total


class Clock:
    """Adds up the time of calls to a function."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.spent, self._clock = 0.0, clock

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            began = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent += self._clock() - began

        return watched


@contextmanager
def watching(*watched: tuple[Clock, type, str]) -> Iterator[None]:
    """Time methods of classes with clocks."""
    originals = [(owner, name, getattr(owner, name)) for _, owner, name in watched]
    for (clock, owner, name), (_, _, function) in zip(watched, originals, strict=True):
        setattr(owner, name, clock.watch(function))
    try:
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def measure(backend: NativeBackend, method: str, journal: Path | None, max_tokens: int, seed: int) -> Share:
    engine, commits = Clock(time.thread_time), Clock(time.perf_counter)
    problem = Problem("farm", (("user", QUESTION),), read_answer, seed=seed)
    with watching((engine, Engine, "step"), (engine, Engine, "add"), (commits, Journal, "commit")):
        began = time.thread_time()
        tasks = [MethodJob(find(method), problem, METHODS[method])]
        ((_, result),) = solve_all({"main": backend}, tasks, sampling={"max_tokens": max_tokens}, journal=journal)
        total = time.thread_time() - began
    assert result.why == "done", result.error
    return Share(method, journal is not None, result.cost.tokens, total, engine.spent, commits.spent)


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--methods", default=",".join(METHODS), metavar="A,B")
    p.add_argument("--max-tokens", type=int, default=128)
    p.add_argument("--rounds", type=int, default=1, help="repeats, of which the smallest overhead is reported")
    p.add_argument("--json", type=Path, metavar="FILE")
    args = p.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for path in args.models:
        model = intact.load(path, threads=1)
        backend = NativeBackend(model)
        assert backend.identity  # the digest of the model's file, which a journal needs once, is no part of this
        print(
            f"{path.name}\n| method | journal | tokens | processor s | engine's s | overhead | commits, wall s |\n"
            + "|---" * 7
            + "|"
        )
        for method in args.methods.split(","):
            measure(backend, method, None, 2, -1)  # imports what it needs
            for kept in (False, True):
                shares = []
                for seed in range(args.rounds):
                    with tempfile.TemporaryDirectory() as folder:
                        place = Path(folder) if kept else None
                        shares.append(measure(backend, method, place, args.max_tokens, seed))
                s = min(shares, key=lambda share: share.overhead)
                found.setdefault(path.name, []).append(s._asdict() | {"overhead": s.overhead})
                print(
                    f"| {method} | {'yes' if kept else 'no'} | {s.tokens} | {s.total:.2f} | {s.engine:.2f} "
                    f"| {s.overhead:.1%} | {s.commits:.2f} |",
                    flush=True,
                )
        model.close()
    if args.json:
        args.json.write_text(json.dumps({"machine": common.machine(), "models": found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
