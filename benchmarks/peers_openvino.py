"""The OpenVINO GenAI side of peers.py, which reads GGUF files of these architectures itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import openvino_genai as genai
from peers_scores import groups
from peers_worker import serve


class OpenVinoSide:
    def __init__(self, path: str, threads: int, clock: Callable[[], float], chunk: int = 1024) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = chunk  # by default a prompt in one step
        self.pipeline = genai.LLMPipeline(path, "CPU", INFERENCE_NUM_THREADS=threads, scheduler_config=scheduler)
        self.clock = clock
        settings = f"paged attention, prefix caching off, {chunk:,} tokens a step; log-probabilities with samples"
        self.about: dict[str, Any] = {
            "version": genai.__version__,
            "threads": threads,
            "settings": {"all": settings},
        }

    def _generate(self, tokens: list[int], count: int, n: int = 1) -> tuple[Any, float]:
        config = genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.apply_chat_template = count, True, False
        if n > 1:
            config.do_sample, config.temperature, config.top_p, config.logprobs = True, 1.0, 1.0, 1
            config.num_return_sequences = n
        ids = np.array([tokens], np.int64)
        inputs = genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        start = self.clock()
        result = self.pipeline.generate(inputs, config)
        return result, self.clock() - start

    def outputs(self, prompts: list[list[int]], count: int, together: int) -> list[list[int]]:
        """Generate answers; prompts of a group are left-padded, and the mask tells the pipeline where each begins."""
        config = genai.GenerationConfig()
        config.max_new_tokens, config.apply_chat_template = count, False
        found: list[list[int]] = []
        for some in groups(prompts, together):
            width = max(map(len, some))
            ids = np.zeros((len(some), width), np.int64)
            mask = np.zeros_like(ids)
            for row, tokens in enumerate(some):
                ids[row, width - len(tokens) :], mask[row, width - len(tokens) :] = tokens, 1
            inputs = genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(mask))
            found += [list(map(int, tokens)) for tokens in self.pipeline.generate(inputs, config).tokens]
        return found

    def prompt(self, tokens: list[int]) -> dict[str, float]:
        return {"tokens": len(tokens), "seconds": self._generate(tokens, 1)[1]}

    def stream(self, tokens: list[int], count: int) -> dict[str, float]:
        result, seconds = self._generate(tokens, count)
        seconds -= result.perf_metrics.get_ttft().mean / 1000
        return {"tokens": len(result.tokens[0]) - 1, "seconds": seconds}

    def samples(self, tokens: list[int], n: int, count: int) -> dict[str, float]:
        result, seconds = self._generate(tokens, count, n)
        first = result.perf_metrics.get_ttft().mean / 1000
        return {"tokens": sum(map(len, result.tokens)), "seconds": seconds, "first": first}


if __name__ == "__main__":
    serve(OpenVinoSide)
