"""The effect of each choice on accuracy: paired differences on the same problems, from the records of scaling.py.

    python benchmarks/factors.py    # print the table; scaling_tables.py writes it into study/scaling.md

Each row changes one thing. p-values are from McNemar's exact test, or, if a side is a mean over seeds or choices of
texts, from a permutation test that flips the signs of differences; they are corrected by Holm over the whole table.
`detectable` is the difference that the test would have found with a power of 80%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from common import RECORDS, bootstrap
from difficulty import CAP, LARGE, SMALL, Floats, study
from pools import detectable
from scaling import Outcome, Records

from intact.stats import best_at_k, holm, majority_at_k, mcnemar, permutation, smallest_difference

GSM8K, HUMANEVAL = "gsm8k-0-0.7-512", "humaneval-style-base-0-0.8-384"
ARC, MATH = "arc_challenge-0-0.7-512", "math500-0-0.7-512"
SETS = {GSM8K: "GSM8K", HUMANEVAL: "HumanEval", ARC: "ARC-Challenge", MATH: "MATH-500"}
SIZES = {SMALL: "0.5B", LARGE: "1.5B"}


class Side(NamedTuple):
    """One side of a comparison: a row of a file, or a chooser of the pool of GSM8K ("pool: vote 8")."""

    row: str
    model: str = SMALL
    records: str = GSM8K
    budget: str = ""
    seeds: int = 1

    @property
    def files(self) -> list[str]:
        """The files of its seeds."""
        return [self.records.replace("-0-", f"-{seed}-", 1) for seed in range(self.seeds)]


class Factor(NamedTuple):
    """A change from one side to another."""

    kind: str
    before: Side
    after: Side


def _changes(kind: str, before: Side, *rows: str) -> list[Factor]:
    """Return changes of the row alone."""
    return [Factor(kind, before, before._replace(row=row)) for row in rows]


VOTE4, VOTE16 = Side("self-consistency 4"), Side("self-consistency 16")
CAPPED = Side("self-consistency 4", budget=CAP, seeds=3)
LIKELY4 = Side("best-of-n by likelihood 4", records=HUMANEVAL)
FACTORS: Sequence[Factor] = [
    Factor("temperature: 0.7 to 0", Side("pool: vote 1"), Side("greedy")),
    Factor("number of texts: 4 to 16, vote", Side("pool: vote 4"), Side("pool: vote 16")),
    Factor("number of texts: 16 to 32, vote", Side("pool: vote 16"), Side("pool: vote 32")),
    Factor("number of texts: 4 to 16, vote", VOTE4._replace(model=LARGE), VOTE16._replace(model=LARGE)),
    Factor("number of texts: 16 to 64, vote", VOTE16._replace(model=LARGE), Side("self-consistency 64", LARGE)),
    Factor("number of texts: 4 to 16, likeliest", Side("pool: likeliest 4"), Side("pool: likeliest 16")),
    Factor("number of texts: 4 to 16, likeliest", LIKELY4, LIKELY4._replace(row="best-of-n by likelihood 16")),
    Factor("number of texts: 4 to 16, tests", *(LIKELY4._replace(row=f"best-of-n by tests {n}") for n in (4, 16))),
    Factor("scorer: none to likelihood", Side("pool: vote 1"), Side("pool: likeliest 16")),
    Factor("scorer: likelihood to equations", Side("best-of-n by likelihood 16"), Side("best-of-n by equations 16")),
    Factor("scorer: likelihood to tests", LIKELY4, LIKELY4._replace(row="best-of-n by tests 4")),
    Factor("scorer: likelihood to P(true)", LIKELY4, LIKELY4._replace(row="best-of-n by P(true) 4")),
    Factor("scorer: likelihood to a written check", LIKELY4, LIKELY4._replace(row="best-of-n by verification 4")),
    *_changes("weighting: none to likelihood", VOTE16, "weighted best-of-n by likelihood 16"),
    *_changes("weighting: none to RPC", VOTE16, "RPC 16"),
    *_changes("weighting: none to length", VOTE16, "length vote 16"),
    *_changes("weighting: bests of subsets", VOTE16, "majority of bests 16"),
    *_changes("filtering: likeliest of the frequent", VOTE16, "best-of-majority 16"),
    *_changes("filtering: the shortest half", VOTE16, "short-8@16"),
    *_changes("filtering: most confident nine tenths", Side("pool: first vote 8"), "DeepConf-high 8"),
    *_changes("filtering: most confident tenth", Side("pool: first vote 8"), "DeepConf-low 8"),
    *_changes("filtering: pruned steps", VOTE4, "step pruning 4"),
    *[
        Factor("model: 0.5B to 1.5B", Side(row), Side(row, LARGE))
        for row in ("greedy", "self-consistency 4", "self-consistency 16", "self-consistency 64")
    ],
    *_changes("program for text, one", Side("greedy", LARGE), "program-aided, greedy", "interleaved code, greedy"),
    *_changes("program for text, four", VOTE4._replace(model=LARGE), "program-aided 4", "interleaved code 4"),
    *_changes("program for text, one", Side("greedy", LARGE, MATH), "program-aided, greedy"),
    *_changes("programs check texts", VOTE4._replace(model=LARGE), "code verified 4"),
    *_changes("prompt: examples", Side("greedy"), "retrieval, greedy; file=examples.txt"),
    *_changes("prompt: a memory of concepts", Side("greedy"), "concept memory, greedy; file=concepts.txt"),
    *_changes("prompt: choices in other orders", Side("self-consistency 4", records=ARC), "choice shuffling 4"),
    *_changes("prompt: plan first", VOTE4, "plan search 4", "think and execute 4"),
    *_changes("search for a vote", CAPPED, "beam search 4", "DVTS 4", "REBASE 4", "particle filter 4", "AB-MCTS 4"),
    *_changes("revision for a vote", VOTE4, "iterated answers 2", "critique and revise 2", "told that it is wrong"),
]


@cache
def _records(name: str) -> Records:
    return Records(RECORDS / f"{name}.jsonl")


def _outcomes(side: Side) -> dict[str, list[Outcome]]:
    """Return the outcomes of a row over its seeds, by problem."""
    found: dict[str, list[Outcome]] = {}
    for name in side.files:
        for one in _records(name).all:
            if (one.model, one.setup, one.budget) == (side.model, side.row, side.budget):
                found.setdefault(one.id, []).append(one)
    return {name: own for name, own in found.items() if len(own) == side.seeds}


def values(side: Side) -> dict[str, float]:
    """Return the probability of a right answer by problem."""
    if not side.row.startswith("pool: "):
        return {name: float(np.mean([one.correct for one in own])) for name, own in _outcomes(side).items()}
    data, (*words, count) = study(), side.row.removeprefix("pool: ").split()
    right = [[bool(one) for one in pool.right] for pool in data.pools]
    answers, k = [pool.answers for pool in data.pools], int(count)
    if words == ["likeliest"]:
        found: Floats = best_at_k([[-float(one) for one in pool.places] for pool in data.pools], right, k)
    elif words == ["first", "vote"]:
        found = majority_at_k([one[:k] for one in answers], [one[:k] for one in right], k)
    else:
        found = majority_at_k(answers, right, k, ties="shared")
    return dict(zip([pool.id for pool in data.pools], map(float, found), strict=True))


class Effect(NamedTuple):
    """A factor's paired differences, by problem, the p-value of its test, and the difference that this could find."""

    factor: Factor
    gains: Floats
    p: float
    detectable: float


def effects() -> Iterator[Effect]:
    """Yield the effect of each factor on the problems that both sides have."""
    for factor in FACTORS:
        before, after = values(factor.before), values(factor.after)
        both = [name for name in before if name in after]
        if len(both) < 2:
            raise SystemExit(f"{factor.before.row} and {factor.after.row} have no problems in common")
        one, other = (np.array([side[name] for name in both]) for side in (after, before))
        yield effect_of(factor, one, other)


def effect_of(factor: Factor, after: Floats, before: Floats) -> Effect:
    """Test a difference: exactly if each problem is either right or wrong, else by permutation."""
    gains = after - before
    if np.isin([after, before], (0, 1)).all():
        seen = smallest_difference(float((gains != 0).mean()), len(gains))
        return Effect(factor, gains, mcnemar(after > 0, before > 0).exact, seen)
    return Effect(factor, gains, permutation(after, before).p, detectable(gains))


def _name(side: Side, linked: Callable[[str], str]) -> str:
    if not side.row.startswith("pool: "):
        return linked(side.row)
    *words, count = side.row.removeprefix("pool: ").replace("first vote", "vote").split()
    return "one sample" if count == "1" else f"{' '.join(words)} of {count}, pool"


def table(linked: Callable[[str], str] = str) -> str:
    """Return the factors as Markdown."""
    found = list(effects())
    corrected = holm([one.p for one in found]).p
    head = ["change", "from", "to", "set", "problems", "difference", "p", "detectable"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (factor, gains, _, seen), p in zip(found, corrected, strict=True):
        low, high = bootstrap(gains)
        before, after = factor.before, factor.after
        sizes = dict.fromkeys(SIZES[side.model] for side in (before, after))
        where = f"{SETS[before.records]}, {' to '.join(sizes)}" + f", {before.seeds} seeds" * (before.seeds > 1)
        cells = [factor.kind, _name(before, linked), _name(after, linked), where, str(len(gains))]
        cells += [f"{gains.mean():+z.1%} ({low:+z.1%} to {high:+z.1%})", f"{p:.2g}", f"{seen:.1%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
