"""Measure how good a scorer must be: methods choose among stored texts, with scorers of a given quality.

    python benchmarks/verifiers.py measure    # from records/pools.jsonl to records/verifiers.jsonl; runs no model
    python benchmarks/verifiers.py            # print the tables of that file and of the stored results of scaling.py

The scorer is the truth with noise: it observes d + z for a right text and z for a wrong one, where z is standard normal
and keyed by seed, problem and text, and d = sqrt(2) Phi^-1(AUROC). Its score is the probability that a text is right
given this observation and the share of right texts in the set: so it is as well calibrated as a scorer of this AUROC
can be without knowing the problem, and 0.5 is the score from which it would accept a text. Methods are the library's
own; the pool's texts replace those that they would sample, in disjoint groups. A method has to beat a vote over as many
texts; methods that stop early are compared with a vote over the number of texts that they used.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RECORDS, Lines, bootstrap
from pools import DETECTED, POOLS, Pool, digest_of, kept

from intact._base.files import write_whole
from intact.reason import Problem, Score, State, find
from intact.reason.problem import Answer, Piece
from intact.reason.requests import Extend
from intact.stats import clustered
from intact.stats.calibration import auroc
from intact.stats.intervals import SHARES
from intact.tasks.score.value.noise import NORMAL, noisy_score, normal

GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
SIZES = (4, 16)
SEEDS = 4
METHODS = ("best_of_n", "weighted_best_of_n", "majority_of_bests", "best_of_majority", "resample_until_verified")
KEPT = RECORDS / "verifiers.jsonl"
VOTE = "self_consistency"


def noise(seed: int, name: str, text: int) -> float:
    """Return the noise of a text, a standard normal number."""
    return normal(f"verifiers|{seed}|{name}|{text}")


@dataclass
class Stand:
    """A pool that replaces a model: its texts are answer numbers, and its scorer knows which of them are right."""

    pool: Pool
    texts: Sequence[int]
    quality: float
    seed: int
    rate: float = 0.5

    @property
    def problem(self) -> Problem:
        """The problem, whose texts are their own answers."""
        return Problem(self.pool.id, "", lambda text: text or None)

    def play(self, method: str, parameters: Mapping[str, Any]) -> tuple[Answer, int]:
        """Return the answer of a method, and the number of texts that it used."""
        problem, taken = self.problem, itertools.count()
        steps, result, count = find(method)(problem, **parameters), None, 0
        while True:
            try:
                request = steps.send(result)
            except StopIteration as end:
                return end.value, count
            several = isinstance(request, list | tuple)
            results = []
            for one in request if several else [request]:
                if isinstance(one, Extend):
                    results.append(self._text(problem, next(taken)))
                    count += 1
                else:
                    assert isinstance(one, Score), one
                    results.append([self._score(state) for state in one.states])
            result = results if several else results[0]

    def _text(self, problem: Problem, number: int) -> State:
        at = self.texts[number]
        answer = self.pool.answers[at]
        text = "" if answer is None else str(answer)
        return State(problem.prompt, (*problem.root, at), (Piece(text, (0,), (0,)),), "end")

    def _score(self, state: State) -> float:
        at = int(state.branch[-1])
        return noisy_score(bool(self.pool.right[at]), self.quality, noise(self.seed, self.pool.id, at), self.rate)

    def is_right(self, answer: Answer) -> bool:
        """Return true if a right text has this answer."""
        code = None if answer.answer is None else int(answer.answer)
        return code is not None and any(r for a, r in zip(self.pool.answers, self.pool.right, strict=True) if a == code)


class Cell(NamedTuple):
    """A method with a scorer of a given quality; shares and their 95% intervals are over problems.

    `reached` is the scorer's AUROC within problems, `texts` the number of texts per problem, `vote` the accuracy of a
    vote over `n` texts, and `beyond` the difference from a vote over `texts` texts. `groups` is the number of disjoint
    groups of n texts, and `pools` the digest of the pools.
    """

    set: str
    model: str
    method: str
    n: int
    quality: float
    reached: float
    texts: float
    vote: float
    right: tuple[float, float, float]
    beyond: tuple[float, float, float]
    groups: int = 0
    pools: str = ""

    @property
    def detectable(self) -> float:
        """The difference that a test at 5% would find with a power of 80%."""
        _, low, high = self.beyond
        return DETECTED * (high - low) / (2 * NORMAL.inv_cdf(0.975))


def rate_of(pools: Sequence[Pool]) -> float:
    """Return the share of right texts."""
    return float(np.mean([np.mean(pool.right) for pool in pools]))


def groups(pool: Pool, n: int) -> Iterator[range]:
    """Yield disjoint groups of n texts of a pool."""
    for first in range(0, len(pool.right) - n + 1, n):
        yield range(first, first + n)


def vote_curve(pools: Sequence[Pool], most: int) -> np.ndarray:
    """Return the accuracy of votes over 1, 2, ... texts, by problem: (problems, most)."""
    out = np.zeros((len(pools), most))
    for i, pool in enumerate(pools):
        for n in range(1, most + 1):
            stands = [Stand(pool, texts, 1.0, 0) for texts in groups(pool, n)]
            out[i, n - 1] = np.mean([one.is_right(one.play(VOTE, {"n": n})[0]) for one in stands])
    return out


def within(problems: Iterable[Sequence[tuple[float, bool]]]) -> float:
    """Return the probability that a right text scores above a wrong one of the same problem; ties count half."""
    won = count = 0.0
    for pairs in problems:
        good, bad = ([value for value, right in pairs if right is kind] for kind in (True, False))
        won += sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
        count += len(good) * len(bad)
    return won / count if count else float("nan")


def reached(pools: Sequence[Pool], quality: float) -> float:
    """Return the scorer's AUROC within problems."""
    rate = rate_of(pools)
    return within(
        [(noisy_score(bool(r), quality, noise(seed, pool.id, at), rate), bool(r)) for at, r in enumerate(pool.right)]
        for pool in pools
        for seed in range(SEEDS)
    )


def measure(pools: Sequence[Pool], method: str, n: int, quality: float, votes: np.ndarray) -> Cell:
    """Return a method's accuracy with a scorer of a given quality; `votes` is the curve of votes."""
    right, texts, rate = np.zeros(len(pools)), list[int](), rate_of(pools)
    for i, pool in enumerate(pools):
        found = []
        for chosen, seed in itertools.product(groups(pool, n), range(1 if quality >= 1 else SEEDS)):
            stand = Stand(pool, chosen, quality, seed, rate)
            answer, count = stand.play(method, {"n": n, "scorer": "truth"})
            found.append(stand.is_right(answer))
            texts.append(count)
        right[i] = np.mean(found)
    used = float(np.mean(texts))
    low, share = int(used) - 1, used - int(used)
    vote = votes[:, low] + (share * (votes[:, low + 1] - votes[:, low]) if share else 0)
    shares = clustered(right[:, None], support=SHARES)
    beyond = float((right - vote).mean()), *bootstrap(right - vote)
    return Cell(
        set=pools[0].set,
        model=pools[0].model,
        method=method,
        n=n,
        quality=quality,
        reached=round(reached(pools, quality), 3),
        texts=round(used, 2),
        vote=round(float(votes[:, n - 1].mean()), 4),
        right=_rounded(shares.estimate, *shares[1:3]),
        beyond=_rounded(*beyond),
        groups=min(len(pool.right) for pool in pools) // n,
        pools=digest_of(pools),
    )


def _rounded(*numbers: float) -> tuple[float, float, float]:
    mean, low, high = (round(float(number), 4) for number in numbers)
    return mean, low, high


def measure_all(pools_file: Path = POOLS, cells_file: Path = KEPT) -> None:
    """Measure all cells that are not stored yet; cells of pools that have been replaced are dropped."""
    sets = [list(part) for _, part in itertools.groupby(kept(pools_file), key=lambda one: (one.set, one.model))]
    current = {digest_of(pools) for pools in sets}
    stored = Lines(cells_file).all
    if any(one["pools"] not in current for one in stored):
        write_whole(cells_file, "".join(json.dumps(one) + "\n" for one in stored if one["pools"] in current))
    lines = Lines(cells_file)
    known = {(one["pools"], one["method"], one["n"], one["quality"]) for one in lines.all}
    for pools in sets:
        digest = digest_of(pools)
        wanted = [key for key in itertools.product(METHODS, SIZES, GRID) if (digest, *key) not in known]
        votes = vote_curve(pools, max(SIZES)) if wanted else None
        for method, n, quality in wanted:
            assert votes is not None
            lines.add(measure(pools, method, n, quality, votes)._asdict())


def pays_from(cells: Sequence[Cell], bound: int) -> str:
    """Return the AUROC, interpolated, from which a method beats a vote: by its mean (0), by its interval (1)."""
    points = [(cell.quality, cell.beyond[bound]) for cell in cells]
    for (a, low), (b, high) in itertools.pairwise(points):
        if low <= 0 < high:
            return f"{a + (b - a) * -low / (high - low):.2f}"
    return "always" if points[0][1] > 0 else "never"


def table(linked: Callable[[str], str] = str) -> str:
    """Return a Markdown row for each set, method and number of texts, from the stored cells.

    `detectable` is the difference from a vote, at an AUROC of 0.8, that would be found with a power of 80%.
    """
    cells = [Cell(**one) for one in Lines(KEPT).all]
    pays = ["better from", "surely better from", "detectable"]
    head = ["set", "method", "n", "groups", "texts at 0.8", "vote", *(f"{q:g}" for q in GRID), *pays]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (name, method, n), part in itertools.groupby(cells, key=lambda one: (one.set, one.method, one.n)):
        row = list(part)
        middle = next(cell for cell in row if cell.quality == 0.8)
        shares = [f"{cell.right[0]:.0%}" for cell in row]
        ahead = [pays_from(row, bound) for bound in (0, 1)]
        words = [name, linked(method), str(n), str(middle.groups), f"{middle.texts:.1f}", f"{row[0].vote:.0%}"]
        words += [*shares, *ahead, f"{middle.detectable:.1%}"]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def real() -> str:
    """Return the AUROC of real scorers on finished texts, from the stored results, as Markdown.

    Scorers without a right and a wrong text of the same problem are left out.
    """
    texts: dict[tuple[str, str], dict[tuple[str, str], list[tuple[float, bool]]]] = {}
    with tarfile.open(RECORDS / "scaling.results.tar.xz") as archive:
        for member in archive.getmembers():
            task, lines = member.name.split("-")[0], archive.extractfile(member)
            for record in map(json.loads, lines or ()):
                for sample in record.get("samples", ()):
                    for scorer, value in {} if sample["cut"] else sample["rewards"].items():
                        own = texts.setdefault((task, scorer), {}).setdefault((member.name, record["id"]), [])
                        own.append((value, bool(sample["correct"])))
    lines = ["| task | scorer | texts | accuracy | AUROC within problems | AUROC over all texts |", "|---" * 6 + "|"]
    for (task, scorer), problems in sorted(texts.items()):
        pairs = [pair for own in problems.values() for pair in own]
        values, right = zip(*pairs, strict=True)
        if not math.isnan(within(problems.values())):
            cells = [
                len(right),
                f"{np.mean(right):.0%}",
                f"{within(problems.values()):.2f}",
                f"{auroc(values, right):.2f}",
            ]
            lines.append(f"| {' | '.join(map(str, [task, scorer, *cells]))} |")
    return "\n".join(lines)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", nargs="?", choices=["measure"], help="measure missing cells; without it, print tables")
    if p.parse_args().command:
        measure_all()
    else:
        print(f"{table()}\n\n{real()}")


if __name__ == "__main__":
    main()
