#!/usr/bin/env python3
"""Compare superposed drafts with samples: their likelihood under the model, and the time that they take.

    benchmarks/superposed.py MODEL [--texts 40] [--drafts 3] [--tokens 10] [--ngrams LINES]

Prompts are the first 15 tokens of paragraphs of wikitext-2's test set. For each, in turns: superposed drafts, as many
samples with top-p 0.9 at temperature 1, and greedy text. Prints the perplexity of the generated text given the prompt,
by the model's own exact log-probabilities (of the best draft or sample, and of all), and the median seconds per prompt.
`--ngrams` adds n-grams from this many lines of the validation set.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence

import intact
from intact.library import Model
from intact.library.superposed import NGrams, SuperposedDecoder
from intact.numerics.sampling import LOGPROB_SCALE
from intact.tasks.data import data_folder

PROMPT = 15
Texts = list[tuple[int, ...]]


def lines(part: str) -> list[str]:
    """Return the paragraphs of a part of wikitext-2."""
    text = (data_folder() / "wikitext2" / f"{part}.txt").read_text("utf-8")
    return [line for line in text.splitlines() if len(line) > 200]


def surprise(model: Model, prompt: Sequence[int], text: Sequence[int]) -> float:
    """Return the mean of -ln p of a text's tokens after a prompt."""
    logprobs = model.logprobs([*prompt, *text])[-len(text) :]
    return -float(sum(map(int, logprobs))) / LOGPROB_SCALE / len(text)


def main() -> None:
    """Generate, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--drafts", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--ngrams", type=int, default=0)
    given = parser.parse_args()
    model = intact.load(given.model, drafter="off", prefix_cache=False)
    encode = model.tokenizer.encode
    table = NGrams([encode(line) for line in lines("valid")[: given.ngrams]]) if given.ngrams else None
    prompts = [encode(line)[:PROMPT] for line in lines("test")[: given.texts]]
    asked = {"max_tokens": given.tokens, "ignore_eos": True}
    with SuperposedDecoder(model, table) as decoder:
        ways: dict[str, Callable[[list[int]], Texts]] = {
            "superposed": lambda prompt: [one.tokens for one in decoder.write(prompt, given.drafts, given.tokens)],
            "samples": lambda prompt: [
                one.tokens for one in model.generate(prompt, given.drafts, temperature=1, top_p=0.9, **asked)[0]
            ],
            "greedy": lambda prompt: [one.tokens for one in model.generate(prompt, temperature=0, **asked)[0]],
        }
        found: dict[str, list[Texts]] = {name: [] for name in ways}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for prompt in prompts:
            for name, way in ways.items():
                began = time.perf_counter()
                found[name].append(way(prompt))
                seconds[name].append(time.perf_counter() - began)
    print(f"{len(prompts)} prompts of {PROMPT} tokens, {given.drafts} drafts of {given.tokens}, {given.ngrams} lines")
    for name, all_texts in found.items():
        judged = [[surprise(model, p, text) for text in texts] for p, texts in zip(prompts, all_texts, strict=True)]
        best = math.exp(statistics.fmean(min(one) for one in judged))
        every = math.exp(statistics.fmean(statistics.fmean(one) for one in judged))
        print(f"{name:10}  perplexity of the best {best:7.2f}, of all {every:7.2f}", end="")
        print(f"  median {1000 * statistics.median(seconds[name]):6.0f} ms a prompt")


if __name__ == "__main__":
    main()
