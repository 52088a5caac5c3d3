"""Accuracy by difficulty at about equal operations, the best method for each, and sequential against parallel.

    python benchmarks/difficulty.py    # print the tables; scaling_tables.py writes them into study/scaling.md

A problem's difficulty is the accuracy of one half of its pool's texts (pools.py); methods are scored on the other half.
Choosers of the pool's texts are scored on both halves, each with the difficulty of the other (cross-fitting). Rows of
scaling.py share their first drafts with the first half, so they take the difficulty of the second half. The best method
for each difficulty is chosen by cross-validation over problems (Snell et al. 2024, arXiv 2408.03314).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from common import RECORDS, bootstrap
from numpy.typing import NDArray
from pools import Pool, detectable, kept
from scaling import Outcome, Records

from intact.stats import best_at_k, majority_at_k
from intact.stats.association import share_of_samples

Floats = NDArray[np.float64]
EDGES = (0.0, 0.125, 0.375)
"""Upper bounds of the accuracy of one text in all bins but the last; absolute, not quantiles."""
BINS = ("never right", "up to 1/8", "up to 3/8", "above 3/8")
SMALL, LARGE = (f"qwen2.5-coder-{size}-instruct-q4_k_m" for size in ("0.5b", "1.5b"))
CAP = "text=512"
VOTE, LIKELIEST = "a vote", "the likeliest"


class Setting(NamedTuple):
    """A method: a row of scaling.py with its budget, or a chooser of `texts` of the pool's texts.

    `level` is the number of texts of the small model that take about as many operations.
    """

    name: str
    model: str
    level: int
    row: str = ""
    budget: str = ""
    texts: int = 0


def _rows(model: str, level: int, *rows: tuple[str, str]) -> list[Setting]:
    return [Setting(row, model, level, row, budget) for row, budget in rows]


SETTINGS: Sequence[Setting] = [
    Setting("one sample", SMALL, 1, texts=1),
    *_rows(SMALL, 1, ("greedy", "")),
    Setting("a vote of 4", SMALL, 4, texts=4),
    Setting("the likeliest of 4", SMALL, 4, texts=4),
    *_rows(
        SMALL, 4, ("beam search 4", CAP), ("DVTS 4", CAP), ("REBASE 4", CAP), ("particle filter 4", CAP),
        ("UCT", CAP), ("PUCT", CAP), ("AB-MCTS 4", CAP), ("iterated answers 2", ""), ("mixture of agents 3", ""),
        ("told that it is wrong", ""),
    ),
    Setting("a vote of 16", SMALL, 16, texts=16),
    Setting("the likeliest of 16", SMALL, 16, texts=16),
    *_rows(
        SMALL, 16, ("weighted best-of-n by likelihood 16", ""), ("critique and revise 2", ""), ("plan search 4", ""),
        ("tree of thoughts", CAP),
    ),
    *_rows(
        LARGE, 4, ("program-aided, greedy", ""), ("greedy", ""), ("interleaved code, greedy", ""),
        ("program-aided 4", ""),
    ),
    *_rows(
        LARGE, 16, ("interleaved code 4", ""), ("self-consistency 4", ""), ("best-of-n by likelihood 4", ""),
        ("particle filter 4", ""), ("code verified 4", ""),
    ),
]  # fmt: skip


class Study(NamedTuple):
    """The pools of a set, and the outcomes of its rows."""

    pools: Sequence[Pool]
    records: Records

    @property
    def half(self) -> int:
        """Half the number of texts of a problem."""
        return min(len(pool.right) for pool in self.pools) // 2

    def accuracy(self, fold: int) -> Floats:
        """Return the accuracy of one text in the half by which a fold's difficulty is known, by problem."""
        own = slice(self.half, 2 * self.half) if fold == 0 else slice(0, self.half)
        return np.array([np.mean(pool.right[own]) for pool in self.pools])

    def agreement(self) -> Floats:
        """Return the share of the most frequent answer in the second half, by problem."""
        answers = [[one for one in pool.answers[self.half : 2 * self.half] if one is not None] for pool in self.pools]
        return np.array([max((own.count(one) for one in own), default=0) / self.half for own in answers])

    def outcomes(self, setting: Setting) -> list[Outcome]:
        """Return the outcomes of a row, in the problems' order; empty for choosers of the pool's texts."""
        ids = [pool.id for pool in self.pools]
        return self.records.of(setting.model, setting.row, setting.budget, ids) if setting.row else []

    def values(self, setting: Setting, fold: int) -> Floats | None:
        """Return the probability of a right answer by problem; None for a row in the second fold, or if incomplete."""
        if setting.row:
            own = self.outcomes(setting)
            return np.array([float(o.correct) for o in own]) if fold == 0 and len(own) == len(self.pools) else None
        part = slice(0, self.half) if fold == 0 else slice(self.half, 2 * self.half)
        if setting.texts > self.half:
            return None
        right = [[bool(one) for one in pool.right[part]] for pool in self.pools]
        if setting.name.startswith(LIKELIEST):
            return best_at_k([[-float(one) for one in pool.places[part]] for pool in self.pools], right, setting.texts)
        return majority_at_k([pool.answers[part] for pool in self.pools], right, setting.texts, ties="shared")

    def costs(self, setting: Setting) -> tuple[float, float]:
        """Return the mean operations, and the share of tokens that must be written one after the other."""
        name = "self-consistency" if setting.texts > 1 else "self-consistency 4"
        own = self.outcomes(setting._replace(row=setting.row or f"{name} {setting.texts}".replace(" 4 1", " 4")))
        operations, tokens, sequential = np.mean([(o.operations, o.tokens, o.sequential) for o in own], axis=0)
        if setting.texts == 1:  # one of four, without the prompt that they share
            return operations / 4, 1.0
        return float(operations), float(sequential / tokens)


@cache
def study() -> Study:
    """Return the pools of GSM8K by the small model, and the rows on the same problems."""
    pools = [pool for pool in kept() if (pool.set, pool.model.removesuffix(".gguf")) == ("GSM8K", SMALL)]
    records = Records(RECORDS / "gsm8k-0-0.7-512.jsonl")
    known = {o.id for o in records.all if (o.model, o.setup) == (SMALL, "greedy")}
    return Study([pool for pool in pools if pool.id in known], records)


def bins_of(accuracy: Floats) -> NDArray[np.int64]:
    """Return the bin of each problem."""
    return np.searchsorted(EDGES, accuracy, side="left")


def share(values: Sequence[Floats], members: Sequence[NDArray[np.bool_]]) -> str:
    """Return the mean over the members of each fold, with its 95% interval over problems."""
    above = sum(value * own for value, own in zip(values, members, strict=True))
    below = sum(own.astype(float) for own in members)
    if np.count_nonzero(below) < 2:
        return ""
    found = share_of_samples(above, below)
    return f"{found.estimate:.0%} ({found.low:.0%} to {found.high:.0%})"


def table(data: Study, model: str, linked: Callable[[str], str] = str) -> str:
    """Return the accuracy of a model's settings by difficulty as Markdown, by their operations."""
    difficulty = [bins_of(data.accuracy(fold)) for fold in (0, 1)]
    counts = [f"{int(sum((own == place).sum() for own in difficulty))}" for place in range(len(BINS))]
    heads = [f"{name} ({count})" for name, count in zip(BINS, counts, strict=True)]
    lines = [f"| {' | '.join(['method', 'G operations', *heads, 'all'])} |", "|---" * (len(heads) + 3) + "|"]
    for setting in SETTINGS:
        found = [data.values(setting, fold) for fold in (0, 1)]
        folds = [fold for fold in (0, 1) if found[fold] is not None]
        if setting.model != model or not folds:
            continue
        values = [value for value in found if value is not None]
        cells = [share(values, [difficulty[fold] == place for fold in folds]) for place in range(len(BINS))]
        cells.append(share(values, [difficulty[fold] >= 0 for fold in folds]))
        name = linked(setting.row) if setting.row else setting.name
        lines.append(f"| {' | '.join([name, f'{data.costs(setting)[0] / 1e9:,.0f}', *cells])} |")
    return "\n".join(lines)


def sequential(data: Study, linked: Callable[[str], str] = str) -> str:
    """Return the settings of about four texts of the small model by the share of tokens in a row, as Markdown.

    `beyond` is the difference from the vote on the same problems.
    """
    difficulty = bins_of(data.accuracy(0))
    own = [one for one in SETTINGS if (one.model, one.level) == (SMALL, 4) and data.values(one, 0) is not None]
    base = data.values(own[0], 0)
    assert base is not None
    head = ["method", "tokens in a row", "G operations", "easier half", "beyond a vote", "harder half", "beyond a vote"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for setting in sorted(own, key=lambda one: data.costs(one)[1]):
        values, (operations, row) = data.values(setting, 0), data.costs(setting)
        assert values is not None
        cells = [linked(setting.row) if setting.row else setting.name, f"{row:.0%}", f"{operations / 1e9:,.0f}"]
        for members in (difficulty >= 2, difficulty < 2):
            gains = (values - base)[members]
            cells += [f"{values[members].mean():.0%}", "" if setting is own[0] else with_power(gains)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_power(gains: Floats) -> str:
    """Return a mean difference with its interval, and the difference that would be found with a power of 80%."""
    low, high = bootstrap(gains)
    return f"{gains.mean():+z.0%} ({low:+z.0%} to {high:+z.0%}; {detectable(gains):.0%})"


class Chosen(NamedTuple):
    """Settings chosen by difficulty and one setting for all, each scored on problems that did not choose it.

    `adaptive` and `single` have the accuracy by problem, averaged over splits; `by_bin` and `best` the settings chosen
    on all problems.
    """

    adaptive: Floats
    single: Floats
    by_bin: Sequence[str]
    best: str


def choose(values: Mapping[str, Floats], difficulty: NDArray[np.int64], splits: int = 40, folds: int = 5) -> Chosen:
    """Choose the most accurate setting for each bin, and for all problems, by cross-validation over random splits.

    Ties go to the first setting.
    """
    names, scores = list(values), np.array(list(values.values()))
    count, rng = scores.shape[1], np.random.default_rng(0)
    adaptive, single = np.zeros(count), np.zeros(count)
    for _ in range(splits):
        fold = rng.permutation(count) % folds
        for number in range(folds):
            known, held = fold != number, fold == number
            one = int(scores[:, known].mean(axis=1).argmax())
            single[held] += scores[one, held]
            for place in np.unique(difficulty[held]):
                own = known & (difficulty == place)
                best = int(scores[:, own].mean(axis=1).argmax()) if own.any() else one
                like = held & (difficulty == place)
                adaptive[like] += scores[best, like]
    chosen = [
        names[int(scores[:, difficulty == place].mean(axis=1).argmax())] if (difficulty == place).any() else ""
        for place in range(int(difficulty.max()) + 1)
    ]
    return Chosen(adaptive / splits, single / splits, chosen, names[int(scores.mean(axis=1).argmax())])


def optimal(data: Study) -> str:
    """Return the choice by difficulty against the best single setting, by operations and kind of difficulty."""
    kinds = {
        "right texts": bins_of(data.accuracy(0)),
        "agreement": np.searchsorted(np.quantile(data.agreement(), (0.25, 0.5, 0.75)), data.agreement(), side="left"),
    }
    head = ["settings", "difficulty by", "chosen from easy to hard", "best single", "by difficulty", "single", "gain"]
    lines = [f"| {' | '.join([*head, 'detectable'])} |", "|---" * (len(head) + 1) + "|"]
    for words, levels, models in (
        ("0.5B, up to 4 texts", (1, 4), (SMALL,)),
        ("0.5B, up to 16 texts", (1, 4, 16), (SMALL,)),
        ("both models, up to 16 texts", (1, 4, 16), (SMALL, LARGE)),
    ):
        values = {
            f"{setting.name}{' (1.5B)' * (setting.model == LARGE)}": found
            for setting in SETTINGS
            if setting.level in levels and setting.model in models and (found := data.values(setting, 0)) is not None
        }
        for kind, difficulty in kinds.items():
            found = choose(values, difficulty)
            gains = found.adaptive - found.single
            low, high = bootstrap(gains)
            cells = [words, kind, "; ".join(reversed(found.by_bin)), found.best]
            cells += [f"{found.adaptive.mean():.1%}", f"{found.single.mean():.1%}"]
            cells += [f"{gains.mean():+z.1%} ({low:+z.1%} to {high:+z.1%})", f"{detectable(gains):.1%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    data = study()
    print("\n\n".join([table(data, SMALL), table(data, LARGE), sequential(data), optimal(data)]))


if __name__ == "__main__":
    main()
