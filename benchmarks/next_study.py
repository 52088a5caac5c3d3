"""Run the plan of benchmarks/README.md, in its order: one command, which can be stopped at any time and started again.

    python benchmarks/next_study.py --work DIR                  # all runs that are not done
    python benchmarks/next_study.py --work DIR --only values,searches
    python benchmarks/next_study.py --work DIR --list           # what is done, and the commands

Each run is a separate command that resumes from its journal and records; finished runs are skipped. Results of
pools and verdicts are in DIR, outcomes and values of prefixes in study/records; values and verdicts reuse the pool's
texts. No run is started after --hours of running in all.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RECORDS, model_path
from mechanisms import idle
from scaling import Records, key_of
from scaling_setups import GROUPS, VALUED

HERE = Path(__file__).resolve().parent
CAP = "text=512"
STEPS = 6
"""Prefixes of a text of GSM8K, roughly."""
VALUED_COST = 8
"""Operations of a search by known values relative to a search: its scorer continues most prefixes itself."""
NICE = ("nice", "-n", "19")
"""The priority of the runs: nothing waits for them."""
CHOSEN = (
    "beam search 4", "particle filter 4", "AB-MCTS 4", "iterated answers 2", "mixture of agents 3", "CoT decoding",
)  # fmt: skip
"""The rows that are also run with the larger model."""
RATE = 300e9
"""Operations per second of two idle cores while many texts are written at a time (study/scaling.md, Seconds)."""
LARGER = 3.2
"""Operations of the larger model relative to the small one's."""


@cache
def operations_of() -> Mapping[str, float]:
    """Return the mean operations of a problem by row of the small model, as far as they are recorded."""
    found: dict[str, list[int]] = {}
    for one in Records(RECORDS / "gsm8k-0-0.7-512.jsonl").all:
        if "0.5b" in one.model and one.budget in ("", CAP):
            found.setdefault(one.setup, []).append(one.operations)
    return {label: float(np.mean(own)) for label, own in found.items()}


def written(*groups: str) -> list[str]:
    """Return the rows of groups whose methods write their own texts, the cheapest first, without idle ones."""
    known = operations_of()
    labels = [label for group in groups for label in GROUPS[group] if label in known and label not in idle()]
    return sorted(labels, key=known.__getitem__)


class Variant(NamedTuple):
    """Rows under a seed and a budget."""

    labels: Sequence[str]
    seed: int
    budget: str


class Sizes(NamedTuple):
    """Numbers of problems, texts and tokens; `--quick` has those of a test."""

    pool: int = 300
    programs: int = 164
    texts: int = 64
    values: int = 50
    continuations: int = 4
    verdicts: tuple[int, int] = (16, 8)
    written: int = 100
    rows: int = 1000
    tokens: int = 512
    program_tokens: int = 384


QUICK = Sizes(2, 2, 2, 2, 2, (2, 2), 2, 2, 8, 8)


class Step(NamedTuple):
    """A run: its name, its commands, a test of whether it is done, and the hours of two idle cores that are left."""

    name: str
    commands: Sequence[Sequence[str]]
    done: Callable[[], bool]
    hours: Callable[[], float]


def _text(*words: object) -> list[str]:
    return [str(word) for word in words]


class Plan:
    """The runs of the plan, for given models, folders and sizes."""

    def __init__(self, args: Any) -> None:
        self.args, self.sizes = args, QUICK if args.quick else Sizes()
        self.work: Path = args.work

    def intact(self, *words: object) -> list[str]:
        threads = ["--threads", self.args.threads] if self.args.threads else []
        return _text(sys.executable, "-m", "intact", *words, *threads)

    def pool(self, name: str, model: Path, task: str, problems: int, sampling: tuple[float, int]) -> Step:
        """Return the run of a pool; its result and journal are called `name`."""
        out, (temperature, tokens) = self.work / f"{name}.jsonl", sampling
        command = self.intact(
            "eval", model, task, "--method", "best_of_n", "-n", self.sizes.texts, "--limit", problems,
            "--temperature", temperature, "--max-tokens", tokens, "--parallel", 4, "--journal", self.work / name,
            "--out", out,
        )  # fmt: skip
        scale = problems * self.sizes.texts / 64 * (LARGER if model == self.args.large else 1)
        return Step(name, [command], out.is_file, lambda: operations_of()["self-consistency 64"] * scale / RATE / 3600)

    def values(self) -> Step:
        """Return the run that estimates values of prefixes."""
        out = self.args.records / "prefix_values.json"
        command = self.intact(
            "learn", "prefixes", "-m", self.args.model, "--limit", self.sizes.values,
            "-n", 4, "--continuations", self.sizes.continuations, "--max-tokens", self.sizes.tokens,
            "--journal", self.work / "gsm8k-0.5b", "--to", out,
        )  # fmt: skip
        texts = 4 * STEPS * self.sizes.continuations / 2  # a continuation is half a text, on average
        return Step("values", [command], out.is_file, lambda: self._hours(texts))

    def verdicts(self) -> Step:
        """Return the run of several verdicts on each of several texts, for exponents.py."""
        out, (texts, checks) = self.work / "verdicts.jsonl", self.sizes.verdicts
        command = self.intact(
            "eval", self.args.model, "gsm8k", "--method", "generative_verifier", "-n", texts, "--set",
            f"checks={checks}", "--limit", self.sizes.values, "--temperature", 0.7, "--max-tokens", self.sizes.tokens,
            "--journal", self.work / "gsm8k-0.5b", "--out", out,
        )  # fmt: skip
        return Step("verdicts", [command], out.is_file, lambda: self._hours(texts * (1 + checks / 5)))

    def _hours(self, texts: float) -> float:
        """Return the hours that it takes to write a number of texts for each problem of `values`."""
        return texts * operations_of()["self-consistency 64"] / 64 * self.sizes.values / RATE / 3600

    def rows(self, name: str, model: Path, problems: int, variants: Sequence[Variant]) -> Step:
        """Return runs of rows of scaling.py."""
        tokens, kept = self.sizes.tokens, self.args.records
        variants = [one._replace(labels=one.labels[: self.sizes.rows]) for one in variants]
        shared = [
            "--problems", problems, "--records", kept, "--journal", self.work / "rows", "--max-tokens", tokens,
            "--values", kept / "prefix_values.json", "--parallel", 32,
        ]  # fmt: skip
        shared += ["--threads", self.args.threads] if self.args.threads else []
        commands = [
            _text(
                sys.executable, HERE / "scaling.py", model, *shared, "--methods", "/".join(one.labels),
                "--seed", one.seed, "--budget", one.budget,
            )
            for one in variants
        ]  # fmt: skip

        def missing() -> Iterator[tuple[str, int]]:
            """Yield each row with the number of its problems that are not recorded."""
            own = argparse.Namespace(set=[], large=None)
            for one in variants:
                records = Records(kept / f"gsm8k-{one.seed}-0.7-{tokens}.jsonl").all
                known = Counter((o.setup, o.budget) for o in records if o.model == model.stem)
                for label in one.labels:
                    yield label, max(0, problems - known[key_of(label, own), one.budget])

        def hours() -> float:
            usual, known = operations_of()["beam search 4"], operations_of()
            costs = sum(known.get(label, usual * VALUED_COST) * count for label, count in missing())
            return costs * (LARGER if model == self.args.large else 1) / RATE / 3600

        return Step(name, commands, lambda: not any(count for _, count in missing()), hours)

    def steps(self) -> Iterator[Step]:
        """Yield all runs in order."""
        size, small, large = self.sizes, self.args.model, self.args.large
        yield self.pool("gsm8k-0.5b", small, "gsm8k", size.pool, (0.7, size.tokens))
        yield self.pool("humaneval-0.5b", small, "humaneval:style=base", size.programs, (0.8, size.program_tokens))
        yield self.pool("gsm8k-1.5b", large, "gsm8k", size.pool, (0.7, size.tokens))
        yield self.values()
        yield self.rows("searches", small, size.values, [Variant(list(VALUED), 0, CAP)])
        yield self.verdicts()
        steps, others = written("steps"), written("judges", "revisions", "others")
        for name, budgets in (("written", (CAP, "")), ("written-2k", (f"tokens=2k,{CAP}", "tokens=2k"))):
            variants = [
                Variant(labels, seed, budget)
                for seed in (0, 1, 2)
                for labels, budget in zip((steps, others), budgets, strict=True)
            ]
            yield self.rows(name, small, size.written, variants)
        yield self.rows("written-1.5b", large, size.written, [Variant(CHOSEN, 0, CAP)])


class Clock:
    """Seconds of running in all, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spent = float(json.loads(path.read_text())["seconds"]) if path.is_file() else 0.0

    def run(self, command: Sequence[str]) -> int:
        """Run a command at low priority, and return its exit status; an interruption stops it and is passed on."""
        begun = time.monotonic()
        process = subprocess.Popen([*NICE, *command])
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            self.spent += time.monotonic() - begun
            self.path.write_text(json.dumps({"seconds": round(self.spent, 1)}))


def run(args: Any) -> int:
    """Run what is not done, and return the exit status of the first command that failed, else 0."""
    for folder in (args.work, args.records):
        folder.mkdir(parents=True, exist_ok=True)
    clock, wanted = Clock(args.work / "hours.json"), args.only.split(",") if args.only else None
    steps = list(Plan(args).steps())
    if wanted and (unknown := set(wanted) - {step.name for step in steps}):
        raise SystemExit(f"no such run: {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in steps)}")
    for step in steps:
        done = step.done()
        if args.list:
            print(f"{step.name}: " + ("done" if done else f"to do, about {step.hours():.1f} hours"))
            print("".join(f"  {shlex.join(command)}\n" for command in step.commands), end="")
        if args.list or done or (wanted and step.name not in wanted):
            continue
        for command in step.commands:
            if clock.spent > args.hours * 3600:
                print(f"{clock.spent / 3600:.1f} hours are spent: {step.name} and what follows are left out")
                return 0
            print(f"{step.name}: {shlex.join(command)}", flush=True)
            if (status := clock.run(command)) != 0:
                print(f"{step.name}: exit status {status}; run the same command again to go on")
                return status
    return 0


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder of journals and results")
    p.add_argument("--model", type=model_path, default="qwen-coder-0.5b", help="the small model")
    p.add_argument("--large", type=model_path, default="qwen-coder-1.5b", help="the larger model")
    p.add_argument("--records", type=Path, default=RECORDS, metavar="DIR", help="folder of outcomes")
    p.add_argument("--only", metavar="A,B", help="runs by name")
    p.add_argument("--list", action="store_true", help="print the runs and their commands, and run nothing")
    p.add_argument("--hours", type=float, default=20, help="most hours of running in all (default 20)")
    p.add_argument("--threads", type=int)
    p.add_argument("--quick", action="store_true", help="two problems and few tokens each, to test the runs")
    args = p.parse_args()
    try:
        status = run(args)
    except KeyboardInterrupt:
        print("stopped: run the same command again to go on")
        status = 130
    raise SystemExit(status)


if __name__ == "__main__":
    main()
