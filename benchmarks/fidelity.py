"""Check that the fp32 profile computes what an independent float program computes: Transformers in float32.

    python benchmarks/fidelity.py MODEL... [--context 700]

It compares logits of one window of wikitext-2, and greedy continuations. Configuration and weights are read from the
file with the gguf package (`float_model.py`). For the distance of the integer profile from the fp32 profile, see
`arithmetic.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, windows_of
from float_model import transformers_model

from intact import Model, load


def against_transformers(path: Path, text: str, context: int, continuations: int, new_tokens: int) -> dict[str, Any]:
    """Compare logits of a window and greedy continuations of the fp32 profile and of Transformers."""
    ours, theirs = load(path, "fp32"), transformers_model(path)
    window = windows_of(ours.tokenizer, text, context, 1)[0]
    with torch.no_grad():
        expected = theirs(torch.tensor([window])).logits[0].numpy()
    got = ours.logits(window)
    worst = np.abs(got - expected).max(axis=1)
    span = float(expected.max() - expected.min())
    prompts = greedy_prompts(ours, text, continuations)
    mine = [c[0].tokens for c in ours.generate(prompts, max_tokens=new_tokens)]
    same, firsts = 0, []
    for prompt, tokens in zip(prompts, mine, strict=True):
        # teacher-forced: all tokens are equal if and only if each is the other program's choice after the previous ones
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
    """Return the first 24 tokens of each of the first long paragraphs."""
    paragraphs = [line.strip() for line in text.splitlines() if len(line) > 400]
    return [model.tokenizer.encode(paragraph)[:24] for paragraph in paragraphs[:count]]


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--context", type=int, default=512, help="tokens per window")
    p.add_argument("--continuations", type=int, default=20)
    p.add_argument("--new-tokens", type=int, default=32)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    text = args.text.read_text()
    results = [
        against_transformers(path, text, args.context, args.continuations, args.new_tokens) for path in args.models
    ]
    if args.json:
        print(json.dumps(results, indent=2))
        return
    print("| model | tokens | largest difference / range of logits | same top-1 | equal greedy continuations |")
    print("|---|---|---|---|---|")
    for r in results:
        print(
            f"| {r['model']} | {r['context']} "
            f"| {r['largest_difference']:.2e} / {r['range']:.1f} = {r['relative']:.1e} | {r['same_top1']:.4f} "
            f"| {r['equal_continuations']} of {r['continuations']} ({r['new_tokens']} tokens) |"
        )


if __name__ == "__main__":
    main()
