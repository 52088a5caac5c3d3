"""A program under measurement in a process of its own: calls and answers, a line of JSON each."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Side(Protocol):
    """What each of the files peers_*.py has: the same work on one program.

    Calls that are timed return {'tokens': how many count, 'seconds': what they took}; `samples` also the `first`
    seconds, until the prompt was done, where the program tells. Those whose logits can be had are `Scores`, too.
    """

    about: dict[str, Any]

    def outputs(self, prompts: list[list[int]], count: int, together: int) -> list[list[int]]:
        """Greedy answers of up to `count` tokens, so many prompts at once; the token that ends one is left out."""

    def prompt(self, tokens: list[int]) -> dict[str, float]:
        """A prompt until its first new token is known."""

    def stream(self, tokens: list[int], count: int) -> dict[str, float]:
        """One greedy answer, from its first token to its last."""

    def samples(self, tokens: list[int], n: int, count: int) -> dict[str, float]:
        """`n` samples at temperature 1 of `count` tokens each, all the time from the prompt on."""


class Worker:
    """A side in a process of its own."""

    def __init__(self, side: str, path: Path, clock: str, threads: int, **options: object) -> None:
        script = Path(__file__).parent / f"peers_{side}.py"
        command = [sys.executable, str(script), str(path), "--clock", clock, "--threads", str(threads)]
        command += ["--options", json.dumps(options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.side, self.about = side, {"error": "it did not start"}
        self.about = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker of {self.side} ended with status {self.process.wait()}")
        return json.loads(line)

    def __call__(self, name: str, *arguments: object) -> Any:
        assert self.process.stdin is not None
        print(json.dumps([name, arguments]), file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(make: Callable[..., Side]) -> None:
    """Make a side of path, threads, clock and options from the command line; answer calls until the input ends."""
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--clock", choices=CLOCKS, default="wall")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--options", type=json.loads, default={}, help="more arguments of the side, as a JSON object")
    args = p.parse_args()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        try:
            side = make(args.model, args.threads or len(os.sched_getaffinity(0)), CLOCKS[args.clock], **args.options)
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            print(json.dumps({"error": str(error).strip().splitlines()[-1]}), file=answers, flush=True)
            return
        print(json.dumps(side.about), file=answers, flush=True)
        for line in sys.stdin:
            name, arguments = json.loads(line)
            print(json.dumps(getattr(side, name)(*arguments)), file=answers, flush=True)
