"""A program under measurement in its own process: calls and answers, one line of JSON each."""

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
    """The interface of the files peers_*.py: the same work on different programs.

    Timed calls return {'tokens': number that counts, 'seconds': elapsed time}; `samples` also returns `first`, the
    seconds until the prompt was done, if the program reports them. Sides that provide logits are also `Scores`.
    """

    about: dict[str, Any]

    def outputs(self, prompts: list[list[int]], count: int, together: int) -> list[list[int]]:
        """Return greedy answers of up to `count` tokens, `together` prompts at once, without the final token."""

    def prompt(self, tokens: list[int]) -> dict[str, float]:
        """Time a prompt until its first new token is known."""

    def stream(self, tokens: list[int], count: int) -> dict[str, float]:
        """Time one greedy answer, from its first token to its last."""

    def samples(self, tokens: list[int], n: int, count: int) -> dict[str, float]:
        """Time `n` samples at temperature 1 of `count` tokens each, including the prompt."""


class Worker:
    """A side in its own process."""

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
    """Create a side from path, threads, clock and options on the command line; answer calls until the input ends."""
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--clock", choices=CLOCKS, default="wall")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--options", type=json.loads, default={}, help="additional arguments of the side, as a JSON object")
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
