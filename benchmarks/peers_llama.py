"""The llama.cpp side of peers.py, below its Python wrappers, which cost time.

Samples share the prompt: it is decoded once and its cells are copied to the other sequences (llama_memory_seq_cp). The
next token is the most likely one, found by NumPy at a twentieth of the cost of llama.cpp's own sampler, so sampling is
hardly charged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import llama_cpp as c
import llama_engine as engine
import numpy as np
from numpy.typing import NDArray
from peers_scores import Scores, groups
from peers_worker import serve

ROOM = 64  # cells to spare
MOST = 32  # prompts at once
FLASH = {
    None: c.LLAMA_FLASH_ATTN_TYPE_AUTO,
    True: c.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    False: c.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}


class LlamaSide(Scores):
    def __init__(
        self, path: str, threads: int, clock: Callable[[], float], chunk: int = 512, flash: bool | None = None
    ) -> None:
        """Open the model; `chunk` and `flash` (None: llama.cpp's default) are for logits and outputs only."""
        engine.start()
        self.model = engine.open_model(path)
        self.threads, self.clock, self.chunk, self.flash = threads, clock, chunk, flash
        self.vocab = c.llama_model_get_vocab(self.model)
        self.vocabulary = c.llama_vocab_n_tokens(self.vocab)
        self.chosen: dict[str, dict[str, Any]] = {}  # settings by row,
        self.contexts: dict[str, Any] = {}  # and its open context
        self.context: Any = None
        self.scoring: tuple[int, Any] = (0, None)  # how many tokens a text may have, and a context for them
        flags = c.llama_print_system_info().decode().strip(" |\n")
        self.about: dict[str, Any] = {"version": c.__version__, "flags": flags, "threads": threads, "settings": {}}

    def _open(self, row: str, setting: dict[str, Any]) -> None:
        """Give a row a context with these settings, replacing its old one."""
        if row in self.contexts:
            c.llama_free(self.contexts.pop(row))
        n, prompt, answer = setting["n"], setting["prompt"], setting["answer"]
        context = self._context(
            n_ctx=ROOM + prompt + n * answer if setting["unified"] else n * (ROOM + prompt + answer),
            n_seq_max=n,
            kv_unified=setting["unified"],
            n_batch=512,
            n_ubatch=setting["ubatch"],
            flash_attn_type=FLASH[setting["flash"]],
        )
        self.chosen[row], self.contexts[row] = setting, context

    def _context(self, **settings: Any) -> Any:
        threads = {"n_threads": self.threads, "n_threads_batch": self.threads}
        return engine.open_context(self.model, **threads, no_perf=True, **settings)

    def _use(self, row: str) -> None:
        """Switch to a row's context, emptied."""
        self.context = self.contexts[row]
        c.llama_memory_clear(c.llama_get_memory(self.context), False)

    def tune(self, row: str, work: str, tokens: list[int], n: int, count: int, short: int, tries: int) -> None:
        """Find the fastest settings for a row on answers of `short` tokens instead of `count`.

        It tries flash attention, the physical batch size, and the sequences' cells in one pool (where each sequence
        attends over all cells and masks those of others) or separately.
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
        """Extrapolate the seconds of the remaining steps, which grow linearly with the number of cells in use."""
        if len(steps) < 3:
            return 0.0
        done = len(steps)
        slope, first = np.polyfit(np.arange(done), steps, 1)
        return float(sum(first + max(slope, 0.0) * step for step in range(done, count - 1)))

    def settings(self) -> dict[str, Any]:
        """Return the chosen settings in words, and the trials."""
        return self.about["settings"]

    def chosen_settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings of each row, as `choose` takes them."""
        return self.chosen

    def choose(self, settings: dict[str, dict[str, Any]]) -> None:
        """Use the settings that another process has found."""
        for row, setting in settings.items():
            self._open(row, setting)

    def _likeliest(self, row: int) -> int:
        logits = c.llama_get_logits_ith(self.context, row)
        return int(np.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())

    def _one(self, tokens: list[int]) -> int:
        """Decode tokens of the first sequence, and return the most likely next one."""
        array = (c.llama_token * len(tokens))(*tokens)  # the batch only points at it
        engine.decode(self.context, c.llama_batch_get_one(array, len(tokens)))
        return self._likeliest(-1)

    def same_tokens(self, text: str, tokens: list[int], bos: int | None) -> bool:
        """Return true if it tokenises a text to these tokens and agrees on the first token."""
        data = text.encode()
        room = len(data) + 8
        out = (c.llama_token * room)()
        count = c.llama_tokenize(self.vocab, data, len(data), out, room, True, False)
        return list(out[:count]) == tokens and c.llama_vocab_get_add_bos(self.vocab) == (bos is not None)

    def logits(self, tokens: list[int], first: int) -> NDArray[np.float32]:
        """Compute logits in one batch; the result is a view that is valid until the next call."""
        room, context = self.scoring
        if len(tokens) > room:
            if context:
                c.llama_free(context)
            room = max(len(tokens), 512)
            context = self._context(n_ctx=room, n_batch=room, n_ubatch=room, flash_attn_type=FLASH[self.flash])
            self.scoring = room, context
        c.llama_memory_clear(c.llama_get_memory(context), True)
        batch = c.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            engine.fill(batch, i, token, i, 0, i >= first)
        engine.decode(context, batch)
        c.llama_batch_free(batch)
        return np.ctypeslib.as_array(c.llama_get_logits(context), (len(tokens) - first, self.vocabulary))

    def outputs(self, prompts: list[list[int]], count: int, together: int) -> list[list[int]]:
        """Generate answers; the context always has room for MOST prompts, so only the batch contents vary."""
        longest, sampler = max(map(len, prompts)), engine.greedy()
        context = self._context(
            n_ctx=MOST * (longest + count + 8),
            n_batch=MOST * longest,
            n_ubatch=self.chunk,
            flash_attn_type=FLASH[self.flash],
            n_seq_max=MOST,
            kv_unified=False,
        )
        found = [
            answer
            for some in groups(prompts, together)
            for answer in engine.continue_all(context, self.vocab, list(some), [sampler] * len(some), count)
        ]
        c.llama_free(context)
        return [answer[: len(answer) - c.llama_vocab_is_eog(self.vocab, answer[-1])] for answer in found]

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
            engine.decode(self.context, batch)
            current = [self._likeliest(i) for i in range(n)]
            stamps.append(self.clock())
        c.llama_batch_free(batch)
        found = {"tokens": n * count, "seconds": stamps[-1] - start, "first": stamps[0] - start}
        return found | {"steps": np.diff(stamps).tolist()}


if __name__ == "__main__":
    serve(LlamaSide)
