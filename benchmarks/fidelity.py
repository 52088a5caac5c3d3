"""How near the integer profile is to FP32 arithmetic, and the fp32 profile to an independent float program.

    python benchmarks/fidelity.py MODEL...                  KL(fp32 || int8) on wikitext-2, perplexity ratio, same top-1
    python benchmarks/fidelity.py MODEL... --transformers   fp32 against Transformers on the same dequantised weights

Windows of 512 do not overlap; where the model wants a first token it replaces the first of each window. All positions
of a window count but the last, which predicts nothing that is known. Intervals: 95%, by resampling windows.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import bootstrap, log_softmax, mean_and_error, parser, windows_of

from intact import Model, load

TARGETS = {"SmolLM2-135M": 0.004, "qwen2.5-coder-0.5b": 0.0015, "gemma-3-270m": 0.003}
ROWS = 64
"""Rows of logits turned into float64 at a time."""


def compare(path: Path, text: str, count: int, context: int, progress: bool = False) -> dict[str, Any]:
    """KL, perplexity and top-1 of the int8 profile against the fp32 profile."""
    exact, fast = load(path, "fp32"), load(path)
    kls, nlls, fast_nlls, tops = [], [], [], []
    for i, window in enumerate(windows_of(exact, text, context, count)):
        started = time.perf_counter()
        p_all, q_all = exact.logits(window), fast.logits(window)
        kl = nll = fast_nll = top = 0.0
        for row in range(0, context - 1, ROWS):
            end = min(row + ROWS, context - 1)
            p, q = log_softmax(p_all[row:end]), log_softmax(q_all[row:end])
            kl += float((np.exp(p) * (p - q)).sum())
            following = np.array(window[row + 1 : end + 1])[:, None]
            nll -= float(np.take_along_axis(p, following, 1).sum())
            fast_nll -= float(np.take_along_axis(q, following, 1).sum())
            top += float((p.argmax(1) == q.argmax(1)).sum())
        for values, value in ((kls, kl), (nlls, nll), (fast_nlls, fast_nll), (tops, top)):
            values.append(value / (context - 1))
        if progress:
            seconds = time.perf_counter() - started
            print(f"  window {i}: KL {kls[-1]:.5f}, so far {np.mean(kls):.5f} ({seconds:.1f} s)", flush=True)
    kl, kl_error = mean_and_error(kls)
    difference = np.array(fast_nlls) - np.array(nlls)
    low, high = bootstrap(np.array(kls))
    ratio = [math.exp(x) for x in (difference.mean(), *bootstrap(difference))]
    return {
        "model": path.name,
        "windows": count,
        "context": context,
        "kl": kl,
        "kl_error": kl_error,
        "kl_interval": [low, high],
        "perplexity_fp32": math.exp(np.mean(nlls)),
        "perplexity_int8": math.exp(np.mean(fast_nlls)),
        "perplexity_ratio": ratio[0],
        "perplexity_ratio_interval": ratio[1:],
        "same_top1": float(np.mean(tops)),
        "target": next((v for k, v in TARGETS.items() if k in path.name), None),
    }


def against_transformers(path: Path, text: str, context: int, continuations: int, new_tokens: int) -> dict[str, Any]:
    """Logits of a window and greedy continuations of the fp32 profile and of Transformers."""
    import torch
    from float_model import transformers_model

    ours, theirs = load(path, "fp32"), transformers_model(path)
    window = windows_of(ours, text, context, 1)[0]
    with torch.no_grad():
        expected = theirs(torch.tensor([window])).logits[0].numpy()
    got = ours.logits(window)
    worst = np.abs(got - expected).max(axis=1)
    span = float(expected.max() - expected.min())
    prompts = greedy_prompts(ours, text, continuations)
    mine = [c[0].tokens for c in ours.generate(prompts, max_tokens=new_tokens)]
    same, firsts = 0, []
    for prompt, tokens in zip(prompts, mine, strict=True):
        # teacher-forced: all tokens equal if and only if each is the other program's choice after the ones before it
        with torch.no_grad():
            logits = theirs(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        wrong = [i for i, (token, row) in enumerate(zip(tokens, logits, strict=True)) if int(row.argmax()) != token]
        same += not wrong
        firsts += [wrong[0]] if wrong else []
    return {
        "model": path.name,
        "context": context,
        "range": span,
        "largest_difference": float(worst.max()),
        "relative": float(worst.max()) / span,
        "worst_position": int(worst.argmax()),
        "same_top1": float((got.argmax(1) == expected.argmax(1)).mean()),
        "continuations": continuations,
        "new_tokens": sum(map(len, mine)),
        "equal_continuations": same,
        "first_differences": firsts,
    }


def greedy_prompts(model: Model, text: str, count: int) -> list[list[int]]:
    """The first 24 tokens of each of the first long paragraphs."""
    paragraphs = [line.strip() for line in text.splitlines() if len(line) > 400]
    return [model.tokenizer.encode(paragraph)[:24] for paragraph in paragraphs[:count]]


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--windows", type=int, default=8)
    p.add_argument("--context", type=int, default=512, help="tokens in a window")
    p.add_argument("--transformers", action="store_true", help="compare the fp32 profile with Transformers")
    p.add_argument("--continuations", type=int, default=20)
    p.add_argument("--new-tokens", type=int, default=32)
    p.add_argument("--json", action="store_true")
    p.add_argument("--progress", action="store_true", help="print every window")
    args = p.parse_args()
    text = args.text.read_text()
    results = []
    for path in args.models:
        if args.transformers:
            results.append(against_transformers(path, text, args.context, args.continuations, args.new_tokens))
        else:
            results.append(compare(path, text, args.windows, args.context, args.progress))
    if args.json:
        print(json.dumps(results, indent=2))
        return
    if args.transformers:
        print("| model | tokens | largest difference / range of logits | same top-1 | equal greedy continuations |")
        print("|---|---|---|---|---|")
        for r in results:
            print(
                f"| {r['model']} | {r['context']} "
                f"| {r['largest_difference']:.2e} / {r['range']:.1f} = {r['relative']:.1e} | {r['same_top1']:.4f} "
                f"| {r['equal_continuations']} of {r['continuations']} ({r['new_tokens']} tokens) |"
            )
        return
    print("| model | windows | KL, nats a token (95%) | limit | perplexity fp32 | int8 | ratio (95%) | same top-1 |")
    print("|---|---|---|---|---|---|---|---|")
    for r in results:
        (low, high), (least, most) = r["kl_interval"], r["perplexity_ratio_interval"]
        print(
            f"| {r['model']} | {r['windows']} | {r['kl']:.5f} ({low:.5f} to {high:.5f}) | {r['target'] or ''} "
            f"| {r['perplexity_fp32']:.3f} | {r['perplexity_int8']:.3f} "
            f"| {r['perplexity_ratio']:.4f} ({least:.4f} to {most:.4f}) | {r['same_top1']:.4f} |"
        )


if __name__ == "__main__":
    main()
