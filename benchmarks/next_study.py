"""Run the plan of benchmarks/README.md, in its order: one command, which can be stopped at any time and started again.

    python benchmarks/next_study.py --work DIR                  # all runs that are not done
    python benchmarks/next_study.py --work DIR --only values,searches
    python benchmarks/next_study.py --work DIR --list           # what is done, and the commands

Each run is a command of its own, which goes on from its journal and records; a run that is done is skipped. Results of
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import RECORDS, model_path
from scaling import Records, key_of
from scaling_setups import GROUPS, VALUED

HERE = Path(__file__).resolve().parent
CAP = "text=512"
NICE = ("nice", "-n", "19")
"""The priority of the runs: nothing waits for them."""
CHOSEN = (
    "beam search 4", "particle filter 4", "AB-MCTS 4", "iterated answers 2", "mixture of agents 3", "CoT decoding",
)  # fmt: skip
"""The rows that are also run with the larger model."""
WRITTEN = [name for group in ("judges", "steps", "revisions", "others") for name in GROUPS[group]]
"""The rows of methods that write their own texts."""


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
    """A run: its name, its commands, and a test of whether it is done."""

    name: str
    commands: Sequence[Sequence[str]]
    done: Callable[[], bool]


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
        """Return the run of a pool; `name` is that of its result and journal."""
        out, (temperature, tokens) = self.work / f"{name}.jsonl", sampling
        command = self.intact(
            "eval", model, task, "--method", "best_of_n", "-n", self.sizes.texts, "--limit", problems,
            "--temperature", temperature, "--max-tokens", tokens, "--parallel", 4, "--journal", self.work / name,
            "--out", out,
        )  # fmt: skip
        return Step(name, [command], out.is_file)

    def values(self) -> Step:
        """Return the run that estimates values of prefixes."""
        out = self.args.records / "prefix_values.json"
        command = self.intact(
            "learn", "prefixes", "-m", self.args.model, "--limit", self.sizes.values,
            "-n", 4, "--continuations", self.sizes.continuations, "--max-tokens", self.sizes.tokens,
            "--journal", self.work / "gsm8k-0.5b", "--to", out,
        )  # fmt: skip
        return Step("values", [command], out.is_file)

    def verdicts(self) -> Step:
        """Return the run of several verdicts on each of several texts, for exponents.py."""
        out, (texts, checks) = self.work / "verdicts.jsonl", self.sizes.verdicts
        command = self.intact(
            "eval", self.args.model, "gsm8k", "--method", "generative_verifier", "-n", texts, "--set",
            f"checks={checks}", "--limit", self.sizes.values, "--temperature", 0.7, "--max-tokens", self.sizes.tokens,
            "--journal", self.work / "gsm8k-0.5b", "--out", out,
        )  # fmt: skip
        return Step("verdicts", [command], out.is_file)

    def rows(self, name: str, model: Path, labels: Sequence[str], problems: int, variants: Sequence[Any]) -> Step:
        """Return runs of rows of scaling.py, under pairs of a seed and a budget."""
        labels, tokens = labels[: self.sizes.rows], self.sizes.tokens
        common = [
            "--methods", "/".join(labels), "--problems", problems, "--records", self.args.records, "--journal",
            self.work / "rows", "--max-tokens", tokens, "--values", self.args.records / "prefix_values.json",
        ]  # fmt: skip
        common += ["--threads", self.args.threads] if self.args.threads else []
        commands = [
            _text(sys.executable, HERE / "scaling.py", model, *common, "--seed", seed, "--budget", budget)
            for seed, budget in variants
        ]

        def done() -> bool:
            own = argparse.Namespace(set=[], large=None)
            for seed, budget in variants:
                path = self.args.records / f"gsm8k-{seed}-0.7-{tokens}.jsonl"
                known = [(o.setup, o.budget) for o in Records(path).all if o.model == model.stem]
                if any(known.count((key_of(label, own), budget)) < problems for label in labels):
                    return False
            return True

        return Step(name, commands, done)

    def steps(self) -> Iterator[Step]:
        """Yield all runs in order."""
        size, small, large = self.sizes, self.args.model, self.args.large
        yield self.pool("gsm8k-0.5b", small, "gsm8k", size.pool, (0.7, size.tokens))
        yield self.pool("humaneval-0.5b", small, "humaneval:style=base", size.programs, (0.8, size.program_tokens))
        yield self.pool("gsm8k-1.5b", large, "gsm8k", size.pool, (0.7, size.tokens))
        yield self.values()
        yield self.rows("searches", small, list(VALUED), size.values, [(0, CAP)])
        yield self.verdicts()
        budgets = (CAP, f"tokens=2k,{CAP}")
        seeds = [(seed, budget) for budget in budgets for seed in (0, 1, 2)]
        yield self.rows("written", small, WRITTEN, size.written, seeds)
        yield self.rows("written-1.5b", large, CHOSEN, size.written, [(0, CAP)])


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
            print(f"{step.name}: {'done' if done else 'to do'}")
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
