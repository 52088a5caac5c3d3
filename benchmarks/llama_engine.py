"""The parts of llama.cpp that benchmarks use, through its C interface to avoid the overhead of its Python wrappers."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp as c

SILENCE = c.llama_log_callback(lambda level, text, data: None)
TYPES = {
    "f16": c.LLAMA_FTYPE_MOSTLY_F16,
    "q8_0": c.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q4_k_m": c.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "q4_0": c.LLAMA_FTYPE_MOSTLY_Q4_0,
}
PURE = ("q4_0",)
"""Types for every matrix; the quantiser's common file types give some matrices more bits."""


def start() -> None:
    """Initialise llama.cpp, without log messages."""
    c.llama_log_set(SILENCE, None)
    c.llama_backend_init()


def open_model(path: str) -> Any:
    model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
    if not model:
        raise ValueError(f"llama.cpp cannot load {path}")
    return model


def open_context(model: Any, **settings: Any) -> Any:
    """Open a context with some of its parameters set, and llama.cpp's defaults for the others."""
    p = c.llama_context_default_params()
    for name, value in settings.items():
        setattr(p, name, value)
    context = c.llama_init_from_model(model, p)
    if not context:
        raise SystemExit(f"llama.cpp cannot create a context with {settings}")
    return context


def decode(context: Any, batch: Any) -> None:
    if c.llama_decode(context, batch):
        raise SystemExit("llama_decode failed")


def quantise(source: Path, target: Path, kind: str) -> None:
    """Write a GGUF file with its matrices in one of TYPES, using llama.cpp's own quantiser (--allow-requantize)."""
    start()
    params = c.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.pure = TYPES[kind], True, kind in PURE
    part = target.with_suffix(".part")
    if c.llama_model_quantize(str(source).encode(), str(part).encode(), ctypes.byref(params)):
        raise SystemExit(f"llama.cpp could not convert {source} to {kind}")
    part.rename(target)


def greedy() -> Any:
    """Return a sampler chain that takes the most likely token."""
    sampler = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    c.llama_sampler_chain_add(sampler, c.llama_sampler_init_greedy())
    return sampler


def fill(batch: Any, place: int, token: int, position: int, sequence: int, wanted: bool) -> None:
    """Set one row of a batch."""
    batch.token[place], batch.pos[place] = token, position
    batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
    batch.logits[place] = wanted


def continue_all(
    context: Any, vocab: Any, prompts: list[list[int]], samplers: list[Any], count: int
) -> list[list[int]]:
    """Continue prompts together by up to `count` tokens each, including the token that ends a sequence."""
    c.llama_memory_clear(c.llama_get_memory(context), False)
    batch = c.llama_batch_init(c.llama_n_batch(context), 0, 1)
    answers: list[list[int]] = [[] for _ in prompts]
    waiting: dict[int, list[int]] = dict(enumerate(prompts))
    while waiting:
        rows, place = {}, 0
        for i, tokens in waiting.items():
            first = len(prompts[i]) + len(answers[i]) - len(tokens)
            for offset, token in enumerate(tokens):
                fill(batch, place, token, first + offset, i, offset == len(tokens) - 1)
                place += 1
            rows[i] = place - 1
        batch.n_tokens = place
        decode(context, batch)
        waiting = {}
        for i, row in rows.items():
            token = c.llama_sampler_sample(samplers[i], context, row)
            answers[i].append(token)
            if len(answers[i]) < count and not c.llama_vocab_is_eog(vocab, token):
                waiting[i] = [token]
    c.llama_batch_free(batch)
    return answers
