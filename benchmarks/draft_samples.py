"""Count the accepted guesses by drafter and by sample number, over 16 answers to each of several GSM8K problems.

The texts are written once. Each drafter then guesses along them, with a fixed number of nodes per step, and learns from
the model's own logits, one sample after the other. The results are counts, which do not depend on the machine's load.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import machine, parser
from draft_requests import check_files, requests
from numpy.typing import NDArray

import intact
from intact.engine.draft.base import Drafter, DrawContext, Observed
from intact.engine.draft.union import Union
from intact.engine.drafting import DRAFTERS
from intact.engine.sampling.parameters import SamplingParameters
from intact.library import prompt_id
from intact.numerics.sampling import branch_key

CONTEXT, CANDIDATES = 2, 10
GROUPS = ((0, 1), (1, 4), (4, 16))
"""Ranges of sample numbers that are counted together."""


class Written(NamedTuple):
    """A sample: its prompt, its tokens, and the most likely tokens at each position of both, with their logit gaps."""

    prompt: list[int]
    tokens: list[int]
    key: int
    candidates: NDArray[np.int32]
    gaps: NDArray[np.int64]


def rows(model: intact.Model, tokens: list[int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the most likely tokens after each token of a sequence, and their logit gaps."""
    candidates, gaps = [], []
    with model.exclusive() as engine:
        for chunks, wanted in engine.prefill(tokens):
            logits = model.executor.step(chunks, wanted)
            found = model.executor.likeliest(logits, wanted, CANDIDATES)
            values = np.take_along_axis(logits, found, axis=1).astype(np.int64)
            candidates.append(found)
            gaps.append(values[:, :1] - values)
    return np.concatenate(candidates), np.concatenate(gaps)


def write(model: intact.Model, request: str, options: argparse.Namespace, sampling: dict[str, float]) -> list[Written]:
    """Generate the samples of a request."""
    prompt = model.tokenizer.encode_chat([{"role": "user", "content": request}])
    (samples,) = model.generate(prompt, n=options.samples, max_tokens=options.tokens, seed=0, **sampling)
    name = prompt_id(prompt)
    written = []
    for number, sample in enumerate(samples):
        tokens = list(sample.tokens)
        key = branch_key(0, (name, number))
        written.append(Written(prompt, tokens, key, *rows(model, [*prompt, *tokens])))
    return written


def guess_along(drafter: Drafter, sample: Written, context: DrawContext, nodes: int) -> tuple[int, int]:
    """Let a drafter guess along a text; return the numbers of steps and of accepted guesses."""
    draft = drafter.open(sample.prompt, context)
    text = [-1] * CONTEXT + sample.prompt
    place, steps, accepted = 0, 0, 0
    while place < len(sample.tokens):
        tree = draft.propose(min(nodes, len(sample.tokens) - place - 1))
        at, count = -1, 0
        while tree is not None and (child := tree.child(at, sample.tokens[place + count])) is not None:
            at, count = child, count + 1
        new = sample.tokens[place : place + count + 1]
        if drafter.candidates:
            last = len(sample.prompt) + place - 1  # the first row of the step
            ran = [text[-1], *new[:-1]]
            window = [*text[-1 - CONTEXT :], *new[:-1]]
            before = [window[i : i + CONTEXT] for i in range(len(ran))]
            chosen = slice(last, last + len(ran))
            own = drafter.candidates
            drafter.learn(
                Observed(
                    np.array(ran, np.int32),
                    np.array(before, np.int32),
                    sample.candidates[chosen, :own],
                    sample.gaps[chosen, :own],
                )
            )
        draft.extend(new)
        text += new
        place, steps, accepted = place + count + 1, steps + 1, accepted + count
    return steps, accepted


def drafters(vocabulary: int) -> Iterator[tuple[str, Drafter, bool]]:
    """Yield the drafters to compare: a name, a drafter, and whether it knows the keys of the draws."""
    made: dict[str, Callable[[], Drafter]] = {
        name: lambda name=name: DRAFTERS[name](vocabulary, True) for name in DRAFTERS
    }  # type: ignore[misc]
    for name, make in made.items():
        yield name, make(), True
    yield "stand, noise of its own", made["stand"](), False
    yield "lookup and stand", Union([made["lookup"](), made["stand"]()]), True


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--problems", type=int, default=8)
    p.add_argument("--samples", type=int, default=16)
    p.add_argument("--tokens", type=int, default=160, help="maximum tokens per answer (default 160)")
    p.add_argument("--nodes", type=int, default=8, help="guesses per step (default 8)")
    p.add_argument("--temperatures", nargs="+", type=float, default=[0.8])
    p.add_argument("--json", type=Path, help="write the results to a file")
    options = p.parse_args()
    check_files()
    results: dict[str, dict[str, list[float]]] = {}
    for name in map(str, options.models):
        for temperature in options.temperatures:
            with intact.load(name, drafter="off") as model:
                sampling = {"temperature": temperature, "top_p": 0.95 if temperature else 1.0}
                exact = SamplingParameters(**sampling).sampling
                problems = [write(model, one, options, sampling) for one in requests("maths", options.problems)]
                vocabulary = model.program.vocabulary
            title = f"{Path(name).name}, temperature {temperature}"
            print(f"\n{title}: accepted guesses a step, {options.nodes} nodes\n")
            heads = [f"sample {a + 1}" if b == a + 1 else f"samples {a + 1} to {b}" for a, b in GROUPS]
            print(f"| drafter | {' | '.join(heads)} | all | passes saved |")
            print("|---|" + "---|" * (len(heads) + 2))
            for label, drafter, knows in drafters(vocabulary):
                counts = np.zeros((options.samples, 2), np.int64)
                for samples in problems:
                    for number, sample in enumerate(samples):
                        key = sample.key if knows else sample.key ^ 0x5DEECE66D
                        context = DrawContext(exact, key, samples=len(samples))
                        counts[number] += guess_along(drafter, sample, context, options.nodes)
                figures = [counts[a:b, 1].sum() / max(1, counts[a:b, 0].sum()) for a, b in GROUPS]
                steps, accepted = counts.sum(axis=0).tolist()
                cells = [f"{value:.2f}" for value in [*figures, accepted / steps]]
                print(f"| {label} | {' | '.join(cells)} | {accepted / (steps + accepted):.0%} |")
                sys.stdout.flush()
                results.setdefault(title, {})[label] = [*map(float, figures), accepted / steps]
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "options": str(options), "models": results}, indent=1)
        )


if __name__ == "__main__":
    main()
