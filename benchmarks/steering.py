#!/usr/bin/env python3
"""Measure activation-steered compression: tokens and accuracy by steering factor, compared with a random vector.

    benchmarks/steering.py MODEL [--layer 14] [--pairs 30] [--problems 30] [--factors 0.25 0.5 1]

The vector is made from GSM8K's training problems: towards the file's short solution, away from the model's own greedy
answer, both after the question in the chat template. Then the first problems of the test set are answered greedily, by
the model without steering, with the vector, and with a random vector of the same norm. Differences from the unsteered
model are paired, with 95% bootstrap intervals.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

import intact
from intact._base.errors import ParameterError
from intact.library.steering import TextPair, steering_vectors, write_vectors
from intact.stats.intervals import bootstrap
from intact.tasks.gsm8k import GSM8K
from intact.text import ChatPrompt

TASK = GSM8K()


def written(model: intact.Model, questions: Sequence[str], tokens: int, adapter: str = "") -> list[tuple[str, int]]:
    """Return the greedy answer to each question, and its tokens."""
    prompts = [ChatPrompt([{"role": "user", "content": question}]) for question in questions]
    made = model.generate(prompts, max_tokens=tokens, temperature=0, adapter=adapter)
    return [(one.text, len(one.tokens)) for (one,) in made]


def text_pairs(model: intact.Model, count: int, tokens: int) -> list[TextPair]:
    """Return short solutions from the training set, without their calculations, and the model's own."""
    path, _ = TASK.source_of("train", None)
    with Path(path).open() as lines:
        rows = [json.loads(line) for line in islice(lines, count)]
    own = written(model, [row["question"] for row in rows], tokens)
    pairs = []
    for row, (verbose, _) in zip(rows, own, strict=True):
        start = model.tokenizer.render_chat([{"role": "user", "content": row["question"]}])
        concise = re.sub(r"<<[^>]*>>", "", row["answer"]).replace("####", "The answer is")
        pairs.append(TextPair(start + concise, start + verbose))
    return pairs


def difference(values: np.ndarray, plain: np.ndarray) -> str:
    """Return the mean difference with its interval."""
    try:
        found = bootstrap(values - plain)
    except ParameterError:  # all alike
        return f"{np.mean(values - plain):+.3g}"
    return f"{found.estimate:+.3g} ({found.low:+.3g} to {found.high:+.3g})"


def main() -> None:
    """Make the vector, answer and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--layer", type=int, default=14)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--problems", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=320)
    parser.add_argument("--factors", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    given = parser.parse_args()
    items = TASK.load(limit=given.problems)
    questions = [item.question for item in items]
    with intact.load(given.model) as model, tempfile.TemporaryDirectory() as folder:
        pairs, architecture = text_pairs(model, given.pairs, given.tokens), model.program.architecture
        vector = steering_vectors(given.model, pairs, [given.layer])[given.layer]
        noise = np.random.default_rng(0).standard_normal(len(vector))
        noise *= np.linalg.norm(vector) / np.linalg.norm(noise)
        files = {"vector": Path(folder) / "v.gguf", "random": Path(folder) / "r.gguf"}
        write_vectors(files["vector"], {given.layer: vector}, architecture)
        write_vectors(files["random"], {given.layer: noise.astype(np.float32)}, architecture)
        adapters = {
            f"{name}-{factor:g}": f"{file}:{factor}" for name, file in files.items() for factor in given.factors
        }
        print(f"{given.pairs} pairs, layer {given.layer}, norm {np.linalg.norm(vector):.4g}; {len(items)} problems")
        print("| adapter | tokens | difference | right | difference |\n|---|---|---|---|---|")
        with intact.load(given.model, adapters=adapters) as adapted:
            plain: tuple[np.ndarray, np.ndarray] | None = None
            for name in ("", *adapters):
                made = written(adapted, questions, given.tokens, name)
                lengths = np.array([count for _, count in made], np.float64)
                right = np.array(
                    [TASK.correct(i, TASK.read(text)) for i, (text, _) in zip(items, made, strict=True)], float
                )
                plain = plain or (lengths, right)
                apart = [difference(a, b) if name else "" for a, b in zip((lengths, right), plain, strict=True)]
                print(
                    f"| {name or 'none'} | {lengths.mean():.1f} | {apart[0]} | {right.mean():.1%} | {apart[1]} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
