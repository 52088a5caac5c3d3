"""Bound what drafts from a model's own first layers could gain (DEL, 2504.05598), before anything is built.

Each exit is the model's first layers with its last norm and head (a logit lens). On texts that the model wrote, greedy,
`alpha` is the share of tokens that an exit would have guessed. A draft of i tokens from the first d of L layers gives
G(i) = 1 + alpha + ... + alpha^i tokens for (L - d) + (i + 1) d layers; the head counts as so many layers as it has
weights. Rows of the check are taken as free, so that what is printed is a bound that no machine reaches.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import machine, parser
from draft_requests import needs, requests
from numpy.typing import NDArray

import intact
from intact.engine.engine import Engine
from intact.executors.native import NativeExecutor
from intact.models.program import Attend, Embed, Logits, Program

LONGEST = 18
"""The most tokens of a draft."""
WORTH = 1.2
"""The gain from which the fast path would be built."""


def prompt_of(model: intact.Model, request: str) -> list[int]:
    """Return a request by the chat template, or as a plain text for a base model."""
    if model.tokenizer.chat_template is None:
        return model.tokenizer.encode(f"Question: {request}\nAnswer:")
    return model.tokenizer.encode_chat([{"role": "user", "content": request}])


def layers_of(program: Program) -> tuple[int, int]:
    """Return how many operations come before the first layer, and how many each layer has."""
    first = next(i for i, op in enumerate(program.ops) if isinstance(op, Embed)) + 1
    last = max(i for i, op in enumerate(program.ops) if isinstance(op, Attend))
    size = (len(program.ops) - first - 2) / program.layers  # the last norm and the head
    if size != int(size) or last < len(program.ops) - 2 - size:
        raise SystemExit("this program's layers are not alike")
    return first, int(size)


def exit_after(program: Program, depth: int) -> Program:
    """Return a program of the first layers, the last norm and the head."""
    first, size = layers_of(program)
    return replace(program, ops=[*program.ops[: first + depth * size], *program.ops[-2:]], layers=depth)


def guesses(program: Program, context: int, texts: list[list[int]]) -> list[NDArray[np.int32]]:
    """Return the likeliest token after each token of texts."""
    executor = NativeExecutor(program)
    engine, found = Engine(executor, context), []
    for text in texts:
        parts = [
            executor.likeliest(executor.step(chunks, wanted), wanted, 1)[:, 0]
            for chunks, wanted in engine.prefill(text)
        ]
        found.append(np.concatenate(parts))
    executor.close()
    return found


def weights_of(program: Program) -> float:
    """Return the head's weights in those of a layer."""
    head = next(op for op in program.ops if isinstance(op, Logits)).weight
    embedding = next(op for op in program.ops if isinstance(op, Embed)).weight
    matrices = {name: np.prod(tensor.shape) for name, tensor in program.tensors.items() if len(tensor.shape) == 2}
    layer = sum(size for name, size in matrices.items() if name not in (head, embedding)) / program.layers
    return float(matrices[head] / layer)


def best(alpha: float, depth: int, layers: int, head: float) -> tuple[float, int]:
    """Return the largest gain over drafts of each length, and the length."""
    found = []
    for count in range(1, LONGEST + 1):
        tokens = sum(alpha**i for i in range(count + 1))
        cost = (layers - depth) + (count + 1) * depth + (count + 1) * head
        found.append((tokens * (layers + head) / cost, count))
    return max(found)


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--texts", type=int, default=200)
    p.add_argument("--tokens", type=int, default=48, help="of each answer (default 48)")
    p.add_argument("--every", type=int, default=2, help="layers from one exit to the next (default 2)")
    p.add_argument("--json", type=Path, help="write the figures to a file")
    options: argparse.Namespace = p.parse_args()
    if missing := [path for path in needs() if not path.is_file()]:
        raise SystemExit(f"no file {missing[0]} (INTACT_DATA names the folder)")
    results: dict[str, list[dict[str, float]]] = {}
    for name in map(str, options.models):
        with intact.load(name) as model:
            program, context = model.program, model.context
            prompts = [prompt_of(model, one) for one in requests("maths", options.texts)]
            written = [one.tokens for (one,) in model.generate(prompts, max_tokens=options.tokens)]
            texts = [[*prompt, *tokens] for prompt, tokens in zip(prompts, written, strict=True)]
            head = weights_of(program)
            print(f"\n{Path(name).name}: {program.layers} layers, the head counts as {head:.1f}\n")
            print("| layers | alpha | gain without heads | gain | tokens a draft |\n|---|---|---|---|---|")
            rows = results.setdefault(Path(name).name, [])
            for depth in range(options.every, program.layers, options.every):
                hits = total = 0
                for text, prompt, found in zip(
                    texts, prompts, guesses(exit_after(program, depth), context, texts), strict=True
                ):
                    expected = np.array(text[len(prompt) :], np.int32)
                    hits += int((found[len(prompt) - 1 : -1] == expected).sum())
                    total += len(expected)
                alpha = hits / total
                (free, _), (gain, count) = (
                    best(alpha, depth, program.layers, 0),
                    best(alpha, depth, program.layers, head),
                )
                print(f"| {depth} | {alpha:.3f} | {free:.2f} | {gain:.2f} | {count} |")
                sys.stdout.flush()
                rows.append({"layers": depth, "alpha": alpha, "free": free, "gain": gain, "tokens": count})
        most = max(rows, key=lambda row: row["gain"])
        verdict = "worth building" if most["gain"] > WORTH else "not worth building"
        print(f"\nmost: {most['gain']:.2f} after {most['layers']} layers: {verdict} (from {WORTH} on)")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "options": str(options), "models": results}, indent=1)
        )


if __name__ == "__main__":
    main()
