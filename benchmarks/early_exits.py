"""Bound the possible gain of drafts from a model's own first layers (DEL, 2504.05598), before implementing anything.

Each exit consists of the model's first layers with its last norm and head (a logit lens). On greedy texts that the
model wrote, `alpha` is the share of tokens that an exit would have guessed. A draft of i tokens from the first d of L
layers gives G(i) = 1 + alpha + ... + alpha^i tokens for (L - d) + (i + 1) d layers; the head counts as many layers as
its weights correspond to. Rows of the verification are taken as free, so the printed value is a bound that no machine
reaches.

With --certainties, it prints instead the effect of exits on a model that is divided between an edge and a cloud
(CE-CoLLM, 2411.02829): the edge has the first layers, and answers by itself where its exit gives a token at least this
probability. For each exit and certainty, it prints the share of tokens that are that certain; the share of these that
agree with the full model; the share of answers that would stay unchanged because all certain tokens agree; and the
share of tokens that never leave the edge, which are those after an answer's last uncertain one. Earlier certain tokens
do leave it, because the later layers' cache needs them for the tokens that follow. The effect of a wrong token on the
rest of its answer is not included.

With --skipped, drafts come from the model without some intermediate layers (SWIFT, 2410.06916), and the verification
runs all layers: G(i) = 1 + alpha + ... + alpha^i tokens for L + i d layers, with d remaining layers. Layers are dropped
one after the other, each time the one whose removal leaves most tokens of the first texts guessed, never the first or
the last; `alpha` is measured on the other texts.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import machine, parser
from draft_requests import check_files, requests
from numpy.typing import NDArray

import intact
from intact.engine.engine import Engine
from intact.executors.base import Executor
from intact.executors.native import NativeExecutor
from intact.models.layers import some_layers
from intact.models.ops import AllGather, Attend, Embed, Logits
from intact.models.program import Program

LONGEST = 18
"""Maximum number of tokens in a draft."""
WORTH = 1.2
"""Gain from which the fast path would be worth implementing."""


def prompt_of(model: intact.Model, request: str) -> list[int]:
    """Return a request in the chat template, or as plain text for a base model."""
    if model.tokenizer.chat_template is None:
        return model.tokenizer.encode(f"Question: {request}\nAnswer:")
    return model.tokenizer.encode_chat([{"role": "user", "content": request}])


def layers_of(program: Program) -> tuple[int, int]:
    """Return the number of operations before the first layer, and the number of operations per layer."""
    first = next(i for i, op in enumerate(program.ops) if isinstance(op, Embed)) + 1
    last = max(i for i, op in enumerate(program.ops) if isinstance(op, Attend))
    size = (len(program.ops) - first - 2) / program.layers  # the last norm and the head
    if size != int(size) or last < len(program.ops) - 2 - size:
        raise SystemExit("the layers of this program differ in size")
    return first, int(size)


def exit_after(program: Program, depth: int) -> Program:
    """Return a program of the first layers, the last norm and the head."""
    first, size = layers_of(program)
    return replace(program, ops=[*program.ops[: first + depth * size], *program.ops[-2:]], layers=depth)


class Guesses(NamedTuple):
    """The most likely token after each token of a text, and its probability."""

    tokens: NDArray[np.int32]
    certainties: NDArray[np.float64]


def guesses(executor: Executor, context: int, texts: list[list[int]]) -> list[Guesses]:
    """Return the guesses of an executor's program after each token of some texts."""
    engine, found = Engine(executor, context), []
    for text in texts:
        parts = []
        for chunks, wanted in engine.prefill(text):
            tokens, logprobs = executor.top(executor.step(chunks, wanted), wanted, 1)
            parts.append((tokens[:, 0], np.exp(logprobs[:, 0] / 2.0**24)))
        found.append(Guesses(*(np.concatenate(column) for column in zip(*parts, strict=True))))
    return found


class Skipping:
    """An executor of all layers whose exchanges undo some of them, so that any layer can be skipped at any time.

    Attributes
    ----------
    skipped : set of int
    """

    def __init__(self, program: Program) -> None:
        self.skipped: set[int] = set()
        self._layers, self._passed = program.layers, 0
        self._kept: NDArray[np.int64] = np.zeros(0, np.int64)
        self.executor = NativeExecutor(some_layers(program, range(program.layers)), exchange=self._exchange)

    def _exchange(self, op: AllGather, own: object, whole: NDArray[np.int64]) -> None:
        if self._passed - 1 in self.skipped:
            whole[:] = self._kept
        else:
            self._kept = whole.copy()
        self._passed = (self._passed + 1) % (self._layers + 1)


def share_right(found: list[Guesses], texts: list[list[int]], prompts: list[list[int]]) -> float:
    """Return the share of the answers' tokens that were guessed."""
    right = [
        one.tokens[len(prompt) - 1 : -1] == text[len(prompt) :]
        for one, text, prompt in zip(found, texts, prompts, strict=True)
    ]
    return sum(int(one.sum()) for one in right) / sum(map(len, right))


def print_skipped(
    program: Program, context: int, texts: list[list[int]], prompts: list[list[int]], shares: list[float], tuning: int
) -> list[dict[str, float]]:
    """Drop layers one after the other, print a row at each of the given shares, and return the rows."""
    skipping, layers, head = Skipping(program), program.layers, weights_of(program)
    left, rows = set(range(1, layers - 1)), []
    for count in range(1, round(max(shares) * layers) + 1):
        chances = {}
        for layer in sorted(left):
            skipping.skipped.add(layer)
            found = guesses(skipping.executor, context, texts[:tuning])
            chances[layer] = share_right(found, texts[:tuning], prompts[:tuning])
            skipping.skipped.discard(layer)
        dropped = max(chances, key=chances.__getitem__)
        left.discard(dropped)
        skipping.skipped.add(dropped)
        if count not in [round(share * layers) for share in shares]:
            continue
        found = guesses(skipping.executor, context, texts[tuning:])
        alpha = share_right(found, texts[tuning:], prompts[tuning:])
        (free, _), (gain, most) = (best_skipped(alpha, layers - count, layers, one) for one in (0.0, head))
        print(f"| {count} | {alpha:.3f} | {free:.2f} | {gain:.2f} | {most} |", flush=True)
        rows.append({"layers": count, "alpha": alpha, "free": free, "gain": gain, "tokens": most})
    skipping.executor.close()
    return rows


class ExitShares(NamedTuple):
    """The shares for an exit at a certainty: of tokens, except `unchanged`, which is of answers."""

    certain: float
    own: float
    unchanged: float
    stays: float


def weigh_exit(answers: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> ExitShares:
    """Return the shares over answers, each given by whether its tokens are certain and agree with the model."""
    total = sum(len(certain) for certain, _ in answers)
    count = sum(int(certain.sum()) for certain, _ in answers)
    own = sum(int((certain & right).sum()) for certain, right in answers)
    unchanged = sum(bool(right[certain].all()) for certain, right in answers)
    stays = sum(int(np.logical_and.accumulate(certain[::-1]).sum()) for certain, _ in answers)
    return ExitShares(count / total, own / count if count else 1.0, unchanged / len(answers), stays / total)


def weights_of(program: Program) -> float:
    """Return the number of the head's weights relative to a layer's."""
    head = next(op for op in program.ops if isinstance(op, Logits)).weight
    embedding = next(op for op in program.ops if isinstance(op, Embed)).weight
    matrices = {name: np.prod(tensor.shape) for name, tensor in program.tensors.items() if len(tensor.shape) == 2}
    layer = sum(size for name, size in matrices.items() if name not in (head, embedding)) / program.layers
    return float(matrices[head] / layer)


def best(alpha: float, depth: int, layers: int, head: float) -> tuple[float, int]:
    """Return the largest gain over draft lengths, and the length."""
    found = []
    for count in range(1, LONGEST + 1):
        tokens = sum(alpha**i for i in range(count + 1))
        cost = (layers - depth) + (count + 1) * depth + (count + 1) * head
        found.append((tokens * (layers + head) / cost, count))
    return max(found)


def best_skipped(alpha: float, left: int, layers: int, head: float) -> tuple[float, int]:
    """Return the largest gain over draft lengths for a draft with `left` layers, and the length."""
    found = []
    for count in range(1, LONGEST + 1):
        tokens = sum(alpha**i for i in range(count + 1))
        found.append((tokens * (layers + head) / (layers + head + count * (left + head)), count))
    return max(found)


SKIPPED = "| layers left out | alpha | gain without heads | gain | tokens a draft |\n|---|---|---|---|---|"
DRAFTS = "| layers | alpha | gain without heads | gain | tokens a draft |\n|---|---|---|---|---|"
CERTAIN = (
    "| layers | certainty | certain | of these the model's own | answers unchanged | never leave the edge |\n"
    "|---|---|---|---|---|---|"
)


def print_drafts(
    depth: int, layers: int, head: float, answers: list[tuple[NDArray[np.float64], NDArray[np.bool_]]]
) -> dict[str, float]:
    """Print and return the row of an exit that is used for drafts."""
    alpha = sum(int(right.sum()) for _, right in answers) / sum(len(right) for _, right in answers)
    (free, _), (gain, count) = best(alpha, depth, layers, 0), best(alpha, depth, layers, head)
    print(f"| {depth} | {alpha:.3f} | {free:.2f} | {gain:.2f} | {count} |")
    return {"layers": depth, "alpha": alpha, "free": free, "gain": gain, "tokens": count}


def print_certain(
    depth: int, answers: list[tuple[NDArray[np.float64], NDArray[np.bool_]]], bounds: list[float]
) -> list[dict[str, float]]:
    """Print and return the rows of an exit with which an edge would answer."""
    found = []
    for bound in bounds:
        shares = weigh_exit([(certain >= bound, right) for certain, right in answers])
        print(f"| {depth} | {bound:g} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
        found.append({"layers": depth, "certainty": bound, **shares._asdict()})
    return found


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--texts", type=int, default=200)
    p.add_argument("--tokens", type=int, default=48, help="tokens per answer (default 48)")
    p.add_argument("--every", type=int, default=2, help="layers between exits (default 2)")
    p.add_argument("--certainties", type=float, nargs="+", help="certainties from which an edge would answer by itself")
    p.add_argument(
        "--skipped", type=float, nargs="+", metavar="SHARE", help="shares of intermediate layers that drafts skip"
    )
    p.add_argument("--tuning", type=int, default=4, help="number of texts for choosing these layers (default 4)")
    p.add_argument("--json", type=Path, help="write the results to a file")
    options: argparse.Namespace = p.parse_args()
    check_files()
    results: dict[str, list[dict[str, float]]] = {}
    for name in map(str, options.models):
        with intact.load(name) as model:
            program, context = model.program, model.context
            prompts = [prompt_of(model, one) for one in requests("maths", options.texts)]
            written = [one.tokens for (one,) in model.generate(prompts, max_tokens=options.tokens)]
            texts = [[*prompt, *tokens] for prompt, tokens in zip(prompts, written, strict=True)]
            found = results.setdefault(Path(name).name, [])
            head = weights_of(program)
            print(f"\n{Path(name).name}: {program.layers} layers, the head counts as {head:.1f}\n")
            print(SKIPPED if options.skipped else CERTAIN if options.certainties else DRAFTS)
            if options.skipped:
                found += print_skipped(program, context, texts, prompts, options.skipped, options.tuning)
            for depth in () if options.skipped else range(options.every, program.layers, options.every):
                executor = NativeExecutor(exit_after(program, depth))
                exits = guesses(executor, context, texts)
                executor.close()
                answers = [
                    (one.certainties[len(prompt) - 1 : -1], one.tokens[len(prompt) - 1 : -1] == text[len(prompt) :])
                    for one, text, prompt in zip(exits, texts, prompts, strict=True)
                ]
                if options.certainties:
                    found += print_certain(depth, answers, options.certainties)
                else:
                    found.append(print_drafts(depth, program.layers, head, answers))
                sys.stdout.flush()
        if not options.certainties:
            most = max(found, key=lambda row: row["gain"])
            verdict = "worth building" if most["gain"] > WORTH else "not worth building"
            where = f"without {most['layers']} of them" if options.skipped else f"after {most['layers']} layers"
            print(f"\nmost: {most['gain']:.2f} {where}: {verdict} (from {WORTH} on)")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine(), "options": str(options), "models": results}, indent=1)
        )


if __name__ == "__main__":
    main()
