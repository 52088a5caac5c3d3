"""The intact side of peers.py, which uses the public library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers_scores import Scores, groups
from peers_worker import serve

import intact
from intact import _native
from intact.evaluate.likelihood import likelihood
from intact.executors.base import Profile
from intact.models.ops import Experts

FAIR = {"ignore_eos": True, "draft": False}
"""Generation never ends early, and every token takes a separate row, as on the other sides."""


class IntactSide(Scores):
    def __init__(
        self, path: str, threads: int, clock: Callable[[], float], profile: Profile = "int8", chunk: int = 512
    ) -> None:
        # No row can use a prompt cache, and each would leave its pages to it. Without a cache, a run reuses the pages
        # of the previous run, as llama.cpp does, instead of memory that is new to the process.
        self.model = intact.load(path, profile, threads, chunk=chunk, prefix_cache=False)
        self.clock = clock
        info = self.model.info()
        self.about: dict[str, Any] = {"version": intact.__version__, "tier": info["tier"], "threads": info["threads"]}
        self.about |= self._bytes_a_token(info["weight_bytes"])
        self.about["settings"] = {
            "all": f"tier {info['tier']}; samples at temperature 1, with log-probabilities; no drafting"
        }
        self._drawn: list[float] = []  # when each step of the run had drawn tokens
        draw = self.model.executor.draw

        def stamped(*arguments: Any, **named: Any) -> Any:
            result = draw(*arguments, **named)
            if len(result[0]):  # a step amid a prompt draws nothing
                self._drawn.append(self.clock())
            return result

        self.model.executor.draw = stamped

    def _bytes_a_token(self, ours: int) -> dict[str, int]:
        tensors = self.model.program.tensors
        file = sum(t.data.nbytes for t in tensors.values())
        for op in self.model.program.ops:  # a row passes some of the experts
            if isinstance(op, Experts):
                names = {name for expert in op.experts for name in (expert.gate, expert.up, expert.down)}
                idle = sum(tensors[name].data.nbytes for name in names) * (1 - op.used / len(op.experts))
                ours, file = round(ours * (1 - idle / file)), round(file - idle)
        if "output.weight" in tensors:  # the head has a matrix of its own: one row of the embedding is read, not all
            embedding = tensors["token_embd.weight"]
            ours -= _native.convert(embedding.kind, embedding.data, *embedding.shape).nbytes
            file -= embedding.data.nbytes
        return {"bytes_a_token": ours, "file_bytes_a_token": file}

    def tokens(self, path: str, count: int) -> list[int]:
        """Return the first tokens of a text."""
        return self.model.tokenizer.encode(Path(path).read_text()[: 12 * count], special=False, bos=False)[:count]

    def logits(self, tokens: list[int], first: int) -> NDArray[np.float32]:
        return self.model.logits(tokens)[first:]

    def likelihood(self, tokens: list[int], start: int) -> float:
        return likelihood(self.model, tokens, start).nats

    def outputs(self, prompts: list[list[int]], count: int, together: int) -> list[list[int]]:
        found = [one for some in groups(prompts, together) for one in self.model.generate(some, max_tokens=count)]
        return [list(completion.tokens) for [completion] in found]

    def prompt(self, tokens: list[int]) -> dict[str, float]:
        start = self.clock()
        self.model.generate(tokens, max_tokens=1)
        return {"tokens": len(tokens), "seconds": self.clock() - start}

    def stream(self, tokens: list[int], count: int) -> dict[str, float]:
        stamps = [self.clock() for _ in self.model.stream(tokens, max_tokens=count, **FAIR)]
        return {"tokens": len(stamps) - 1, "seconds": stamps[-1] - stamps[0]}

    def samples(self, tokens: list[int], n: int, count: int) -> dict[str, float]:
        self._drawn.clear()
        start = self.clock()
        [found] = self.model.generate(tokens, n=n, max_tokens=count, temperature=1.0, logprobs=True, **FAIR)
        seconds = self.clock() - start
        made = sum(len(completion.tokens) for completion in found)
        return {"tokens": made, "seconds": seconds, "first": self._drawn[0] - start}


if __name__ == "__main__":
    serve(IntactSide)
