"""audit.py's maker of llama.cpp logs: its own samplers, one generator for each response, several in a batch.

    python benchmarks/audit_llama.py MODEL.gguf SETTINGS < prompts.jsonl > log.jsonl

SETTINGS is a JSON object: temperature, top_k, top_p, min_p, seed, max_tokens. The order of the chain is that of
llama.cpp's command line and of llama-cpp-python: top_k, top_p, min_p, temperature, then the draw.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import llama_cpp as c

TOGETHER = 16
SILENCE = c.llama_log_callback(lambda level, text, data: None)


def chain(settings: dict[str, Any], seed: int) -> Any:
    """A sampler of one response."""
    sampler = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    if settings["temperature"] == 0:
        parts = [c.llama_sampler_init_greedy()]
    else:
        parts = [
            c.llama_sampler_init_top_k(settings["top_k"]),
            c.llama_sampler_init_top_p(settings["top_p"], 1),
            c.llama_sampler_init_min_p(settings["min_p"], 1),
            c.llama_sampler_init_temp(settings["temperature"]),
            c.llama_sampler_init_dist(seed),
        ]
    for part in parts:
        c.llama_sampler_chain_add(sampler, part)
    return sampler


def answer(context: Any, vocab: Any, prompts: list[list[int]], samplers: list[Any], count: int) -> list[list[int]]:
    """Continue prompts by up to `count` tokens each; what ended them is the last."""
    c.llama_memory_clear(c.llama_get_memory(context), False)
    batch = c.llama_batch_init(c.llama_n_batch(context), 0, 1)
    answers: list[list[int]] = [[] for _ in prompts]
    waiting: dict[int, list[int]] = dict(enumerate(prompts))
    while waiting:
        total = sum(map(len, waiting.values()))
        batch.n_tokens, rows, place = total, {}, 0
        for i, tokens in waiting.items():
            start = len(prompts[i]) + len(answers[i]) - len(tokens)
            for offset, token in enumerate(tokens):
                batch.token[place], batch.pos[place] = token, start + offset
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, i
                batch.logits[place] = offset == len(tokens) - 1
                place += 1
            rows[i] = place - 1
        if c.llama_decode(context, batch):
            raise SystemExit("llama_decode failed")
        waiting = {}
        for i, row in rows.items():
            token = c.llama_sampler_sample(samplers[i], context, row)
            answers[i].append(token)
            if len(answers[i]) < count and not c.llama_vocab_is_eog(vocab, token):
                waiting[i] = [token]
    c.llama_batch_free(batch)
    return answers


def main() -> None:
    path, settings = sys.argv[1], json.loads(sys.argv[2])
    c.llama_log_set(SILENCE, None)
    c.llama_backend_init()
    model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
    lines = [json.loads(line) for line in sys.stdin]
    longest = max(len(line["prompt_tokens"]) for line in lines)
    p = c.llama_context_default_params()
    p.n_ctx = TOGETHER * (longest + settings["max_tokens"] + 8)
    p.n_batch, p.n_seq_max, p.kv_unified = TOGETHER * longest, TOGETHER, False
    p.n_threads = p.n_threads_batch = settings.get("threads", 1)
    context = c.llama_init_from_model(model, p)
    vocab = c.llama_model_get_vocab(model)
    for start in range(0, len(lines), TOGETHER):
        some = lines[start : start + TOGETHER]
        samplers = [chain(settings, settings["seed"] + start + i) for i in range(len(some))]
        prompts = [line["prompt_tokens"] for line in some]
        for i, tokens in enumerate(answer(context, vocab, prompts, samplers, settings["max_tokens"])):
            told = {name: settings[name] for name in ("temperature", "top_k", "top_p", "min_p")}
            engine = {"engine": "llama.cpp", "engine_version": c.__version__, "seed": settings["seed"] + start + i}
            record = {**some[i], **engine, **told, "output_tokens": tokens}
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
