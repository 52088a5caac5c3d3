"""Generate llama.cpp logs for audit.py: its own samplers, one generator per response, several responses in a batch.

    python benchmarks/audit_llama.py MODEL.gguf SETTINGS < prompts.jsonl > log.jsonl

SETTINGS is a JSON object: temperature, top_k, top_p, min_p, seed, max_tokens. The samplers run in the order of
llama.cpp's command line and of llama-cpp-python: top_k, top_p, min_p, temperature, then the draw.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import llama_cpp as c
import llama_engine as engine

TOGETHER = 16


def chain(settings: dict[str, Any], seed: int) -> Any:
    """Return the sampler chain of one response."""
    if settings["temperature"] == 0:
        return engine.greedy()
    sampler = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    for part in (
        c.llama_sampler_init_top_k(settings["top_k"]),
        c.llama_sampler_init_top_p(settings["top_p"], 1),
        c.llama_sampler_init_min_p(settings["min_p"], 1),
        c.llama_sampler_init_temp(settings["temperature"]),
        c.llama_sampler_init_dist(seed),
    ):
        c.llama_sampler_chain_add(sampler, part)
    return sampler


def main() -> None:
    path, settings = sys.argv[1], json.loads(sys.argv[2])
    engine.start()
    model = engine.open_model(path)
    lines = [json.loads(line) for line in sys.stdin]
    longest = max(len(line["prompt_tokens"]) for line in lines)
    threads = settings.get("threads", 1)
    context = engine.open_context(
        model,
        n_ctx=TOGETHER * (longest + settings["max_tokens"] + 8),
        n_batch=TOGETHER * longest,
        n_seq_max=TOGETHER,
        kv_unified=False,
        n_threads=threads,
        n_threads_batch=threads,
    )
    vocab = c.llama_model_get_vocab(model)
    for start in range(0, len(lines), TOGETHER):
        some = lines[start : start + TOGETHER]
        samplers = [chain(settings, settings["seed"] + start + i) for i in range(len(some))]
        prompts = [line["prompt_tokens"] for line in some]
        for i, tokens in enumerate(engine.continue_all(context, vocab, prompts, samplers, settings["max_tokens"])):
            told = {name: settings[name] for name in ("temperature", "top_k", "top_p", "min_p")}
            who = {"engine": "llama.cpp", "engine_version": c.__version__, "seed": settings["seed"] + start + i}
            record = {**some[i], **who, **told, "output_tokens": tokens}
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
