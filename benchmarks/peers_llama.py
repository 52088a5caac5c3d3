"""peers.py's side of llama.cpp, below its Python conveniences, which cost time.

Samples share the prompt: it is decoded once and its cells are copied to the other sequences (llama_memory_seq_cp). The
next token is the likeliest, found by NumPy, which costs a twentieth of llama.cpp's own sampler: drawing is not charged.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp as c
import numpy as np
from peers_worker import serve

ROOM = 64  # cells to spare
SILENCE = c.llama_log_callback(lambda level, text, data: None)


def quantise(source: Path, target: Path) -> None:
    """Write every matrix of a GGUF file as Q4_0, by llama.cpp's own quantiser (--allow-requantize --pure)."""
    c.llama_log_set(SILENCE, None)
    c.llama_backend_init()
    params = c.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.pure = c.LLAMA_FTYPE_MOSTLY_Q4_0, True, True
    part = target.with_suffix(".part")
    if c.llama_model_quantize(str(source).encode(), str(part).encode(), ctypes.byref(params)):
        raise SystemExit(f"llama.cpp could not quantise {source}")
    part.rename(target)


class LlamaSide:
    def __init__(self, path: str, threads: int, clock: Callable[[], float]) -> None:
        c.llama_log_set(SILENCE, None)
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        if not self.model:
            raise ValueError(f"llama.cpp cannot load {path}")
        self.threads, self.clock = threads, clock
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.chosen: dict[str, dict[str, Any]] = {}  # settings by row,
        self.contexts: dict[str, Any] = {}  # and its open context
        self.context: Any = None
        flags = c.llama_print_system_info().decode().strip(" |\n")
        self.about: dict[str, Any] = {"version": c.__version__, "flags": flags, "threads": threads, "settings": {}}

    def _open(self, row: str, setting: dict[str, Any]) -> None:
        """Give a row a context of these settings in place of what it had."""
        if row in self.contexts:
            c.llama_free(self.contexts.pop(row))
        p = c.llama_context_default_params()
        n, prompt, answer = setting["n"], setting["prompt"], setting["answer"]
        p.n_ctx = ROOM + prompt + n * answer if setting["unified"] else n * (ROOM + prompt + answer)
        p.n_seq_max, p.kv_unified = n, setting["unified"]
        p.n_batch, p.n_ubatch = 512, setting["ubatch"]
        p.n_threads = p.n_threads_batch = self.threads
        on, off = c.LLAMA_FLASH_ATTN_TYPE_ENABLED, c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        p.flash_attn_type = on if setting["flash"] else off
        p.no_perf = True
        context = c.llama_init_from_model(self.model, p)
        if not context:
            raise SystemExit(f"llama.cpp makes no context of {setting}")
        self.chosen[row], self.contexts[row] = setting, context

    def _use(self, row: str) -> None:
        """Take up a row's context, emptied."""
        self.context = self.contexts[row]
        c.llama_memory_clear(c.llama_get_memory(self.context), False)

    def tune(self, row: str, work: str, tokens: list[int], n: int, count: int, short: int, tries: int) -> None:
        """Find the fastest settings for a row on answers of `short` tokens instead of `count`.

        Tried are flash attention, the physical batch, and the cells of the sequences in one pool (where each attends
        over all cells and masks those of others) or apart.
        """
        ubatches = (128, 512) if work == "prompt" else (512,)
        shared = (True, False) if work == "samples" else (True,)
        shape = {"n": n, "prompt": len(tokens), "answer": count}
        settings = [
            {"ubatch": ubatch, "flash": flash, "unified": unified, **shape}
            for ubatch, flash, unified in itertools.product(ubatches, (True, False), shared)
        ]
        call = {"prompt": (tokens,), "stream": (tokens, short), "samples": (tokens, n, short)}[work]
        least = [math.inf] * len(settings)
        self._open(row, settings[0])
        self.prompt(tokens, row)  # weights that nobody read yet are slow for once
        for _ in range(tries):
            for index, setting in enumerate(settings):
                if least[index] > 1.15 * min(least) and least[index] < math.inf:
                    continue  # too far behind for luck
                self._open(row, setting)
                run = getattr(self, work)(*call, row)
                least[index] = min(least[index], run["seconds"] + self._rest(run.get("steps", []), count))
        best = settings[least.index(min(least))]
        self._open(row, best)
        words = f"flash attention {'on' if best['flash'] else 'off'}, ubatch {best['ubatch']}"
        if n > 1:
            words += ", cells in one pool" if best["unified"] else ", cells of each sequence apart"
        others = sorted(seconds / min(least) for seconds in least)[1:]
        words += f" (other settings: {others[0]:.2f} to {others[-1]:.2f} times the seconds)"
        tried = [{**setting, "seconds": seconds} for setting, seconds in zip(settings, least, strict=True)]
        self.about["settings"][row] = {"words": words, "tried": tried}

    @staticmethod
    def _rest(steps: list[float], count: int) -> float:
        """Seconds that the steps to come would take: they grow with the cells that are in use, on a line."""
        if len(steps) < 3:
            return 0.0
        done = len(steps)
        slope, first = np.polyfit(np.arange(done), steps, 1)
        return float(sum(first + max(slope, 0.0) * step for step in range(done, count - 1)))

    def settings(self) -> dict[str, Any]:
        """What was chosen, in words, and what was tried."""
        return self.about["settings"]

    def _decode(self, batch: Any) -> None:
        if c.llama_decode(self.context, batch):
            raise SystemExit("llama_decode failed")

    def _likeliest(self, row: int) -> int:
        logits = c.llama_get_logits_ith(self.context, row)
        return int(np.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())

    def _one(self, tokens: list[int]) -> int:
        """Decode tokens of the first sequence; the likeliest next one."""
        array = (c.llama_token * len(tokens))(*tokens)  # the batch only points at it
        self._decode(c.llama_batch_get_one(array, len(tokens)))
        return self._likeliest(-1)

    def prompt(self, tokens: list[int], row: str) -> dict[str, Any]:
        self._use(row)
        start = self.clock()
        self._one(tokens)
        return {"tokens": len(tokens), "seconds": self.clock() - start}

    def stream(self, tokens: list[int], count: int, row: str) -> dict[str, Any]:
        self._use(row)
        token = self._one(tokens)
        start = self.clock()
        for _ in range(count - 1):
            token = self._one([token])
        return {"tokens": count - 1, "seconds": self.clock() - start}

    def samples(self, tokens: list[int], n: int, count: int, row: str) -> dict[str, Any]:
        self._use(row)
        memory = c.llama_get_memory(self.context)
        batch = c.llama_batch_init(n, 0, 1)
        batch.n_tokens = n
        for i in range(n):
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, i, True
        start = self.clock()
        current = [self._one(tokens)] * n
        for sequence in range(1, n):
            c.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
        stamps = [self.clock()]
        for position in range(len(tokens), len(tokens) + count - 1):
            for i, token in enumerate(current):
                batch.token[i], batch.pos[i] = token, position
            self._decode(batch)
            current = [self._likeliest(i) for i in range(n)]
            stamps.append(self.clock())
        c.llama_batch_free(batch)
        found = {"tokens": n * count, "seconds": stamps[-1] - start, "first": stamps[0] - start}
        return found | {"steps": np.diff(stamps).tolist()}


if __name__ == "__main__":
    serve(LlamaSide)
