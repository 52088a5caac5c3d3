"""Perplexity of each file by intact and by llama.cpp (llama-cpp-python): same tokens, windows and positions.

    python benchmarks/perplexity.py MODEL... [--windows 40] [--fp32]

The text is tokenised by intact, and llama.cpp's tokens of it are checked to be the same. It is cut into windows of 512
without overlap; where the model wants a first token (BOS) it replaces the first of each window. The positions scored
are those of llama.cpp's perplexity tool: the 255 of the second half of each window whose next token is known.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from common import log_softmax, mean_and_error, parser, windows_of
from numpy.typing import NDArray

from intact import load
from intact.cli.perplexity import tokenise
from intact.evaluate.perplexity import SCALE


class LlamaCpp:
    """Scores windows with llama.cpp, flash attention off."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        import llama_cpp

        self.c, self.context = llama_cpp, context
        self._silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self._silence, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        p = llama_cpp.llama_context_default_params()
        p.n_ctx = p.n_batch = p.n_ubatch = context
        p.n_threads = p.n_threads_batch = threads
        p.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.running = llama_cpp.llama_init_from_model(self.model, p)
        self.batch = llama_cpp.llama_batch_init(context, 0, 1)

    def adds_bos(self) -> bool:
        return bool(self.c.llama_vocab_get_add_bos(self.vocabulary))

    def tokens(self, text: str) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        out = (self.c.llama_token * room)()
        count = self.c.llama_tokenize(self.vocabulary, data, len(data), out, room, True, False)
        return list(out[:count])

    def nll(self, window: list[int]) -> float:
        """Mean of -log p over the second half of a window."""
        first, size = self.context // 2, self.c.llama_vocab_n_tokens(self.vocabulary)
        self.c.llama_memory_clear(self.c.llama_get_memory(self.running), True)
        self.batch.n_tokens = len(window)
        for i, token in enumerate(window):
            self.batch.token[i], self.batch.pos[i], self.batch.n_seq_id[i] = token, i, 1
            self.batch.seq_id[i][0], self.batch.logits[i] = 0, first <= i < len(window) - 1
        if self.c.llama_decode(self.running, self.batch):
            raise SystemExit("llama_decode failed")
        total = 0.0
        for i in range(first, len(window) - 1):
            row: NDArray[np.float32] = np.ctypeslib.as_array(self.c.llama_get_logits_ith(self.running, i), (size,))
            total -= float(log_softmax(row)[window[i + 1]])
        return total / (len(window) - 1 - first)


def compare(path: Path, text: str, args: Any) -> dict[str, Any]:
    profiles = ("int8", "fp32") if args.fp32 else ("int8",)
    models = {profile: load(path, profile) for profile in profiles}
    theirs = LlamaCpp(path, args.context, args.threads)
    tokenizer = models["int8"].tokenizer
    piece = text[: 8 * args.context * (args.windows + 1)]
    tokens, bos = tokenise(tokenizer, piece)
    windows = windows_of(models["int8"], text, args.context, args.windows)
    nlls: dict[str, list[float]] = {name: [] for name in ("llama.cpp", *profiles)}
    for i, window in enumerate(windows):
        nlls["llama.cpp"].append(theirs.nll(window))
        for profile, model in models.items():
            nlls[profile].append(-float(np.mean(model.logprobs(window)[args.context // 2 :])) / SCALE)
        if args.progress:
            print(f"  {i}: " + ", ".join(f"{k} {math.exp(np.mean(v)):.4f}" for k, v in nlls.items()), flush=True)
    result: dict[str, Any] = {
        "model": path.name,
        "windows": len(windows),
        "scored": len(windows) * (args.context - 1 - args.context // 2),
        "bos": bos,
        "same_tokens": theirs.tokens(piece) == tokens,
        "same_bos_rule": theirs.adds_bos() == (bos is not None),
    }
    for name, values in nlls.items():
        result[name] = math.exp(np.mean(values))
        mean, error = mean_and_error([a - b for a, b in zip(values, nlls["llama.cpp"], strict=True)])
        result[f"{name}_to_llama.cpp"] = [math.exp(mean) - 1, error]
    return result


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--windows", type=int, default=40)
    p.add_argument("--context", type=int, default=512, help="tokens in a window")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of llama.cpp")
    p.add_argument("--fp32", action="store_true", help="measure the fp32 profile too")
    p.add_argument("--json", action="store_true")
    p.add_argument("--progress", action="store_true", help="print every window")
    args = p.parse_args()
    text = args.text.read_text()
    results = [compare(path, text, args) for path in args.models]
    if args.json:
        print(json.dumps(results, indent=2))
        return
    profiles = ("int8", "fp32") if args.fp32 else ("int8",)
    print("| model | windows | scored | first token | llama.cpp |" + "".join(f" {p} | difference |" for p in profiles))
    print("|---" * (5 + 2 * len(profiles)) + "|")
    for r in results:
        ours = ""
        for profile in profiles:
            difference, error = r[f"{profile}_to_llama.cpp"]
            ours += f" {r[profile]:.4f} | {difference:+.2%} ± {error:.2%} |"
        first = "none added" if r["bos"] is None else f"BOS ({r['bos']}) in place of each window's first"
        print(f"| {r['model']} | {r['windows']} | {r['scored']:,} | {first} | {r['llama.cpp']:.4f} |{ours}")
        if not (r["same_tokens"] and r["same_bos_rule"]):
            print(f"{r['model']}: llama.cpp tokenises the text otherwise, or has another rule for BOS", flush=True)
            raise SystemExit(1)


if __name__ == "__main__":
    main()
