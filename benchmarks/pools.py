"""Evaluate pools of samples: on how many problems one sample, the vote, the most likely and the best of k are right.

    intact eval MODEL arc_challenge --method best_of_n -n 64 --out arc.jsonl
    python benchmarks/pools.py add "ARC-Challenge" arc.jsonl      # store each sample's relevant facts in records/
    python benchmarks/pools.py                                    # print the table of the stored pools

All values are means over every choice of k of a problem's samples, hence unbiased; intervals are Student's t over
problems, and the bootstrap over them for the difference from one sample. For each sample, the records hold its answer,
whether it is right, and its rank by mean log-probability; no texts.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import RECORDS, Lines, bootstrap

from intact._base.exact import ranking
from intact._base.files import write_whole
from intact.evaluate.files import read
from intact.evaluate.results import ItemRecord
from intact.evaluate.samples import own_samples
from intact.stats import best_at_k, clustered, holm, majority_at_k, pass_at_k, permutation
from intact.stats.checks import Floats
from intact.stats.intervals import SHARES

POOLS = RECORDS / "pools.jsonl"
SIZES = (4, 16)
DETECTED = 1.959964 + 0.841621
"""Number of standard errors from zero at which a difference is found at 5% with a power of 80%."""
VOTE, LIKELIEST, ANY = "the vote", "the most likely", "any (pass@k)"


class Pool(NamedTuple):
    """The samples of one problem.

    `answers` are numbers, equal for equal answers, and None if a sample gives none; `places` are ranks by mean
    log-probability, 0 for the most likely.
    """

    set: str
    model: str
    id: str
    answers: Sequence[int | None]
    right: Sequence[int]
    places: Sequence[int]

    @classmethod
    def of(cls, name: str, model: str, record: ItemRecord) -> Pool:
        samples = own_samples(record)
        known = list(dict.fromkeys(one.answer for one in samples if one.answer is not None))
        answers = [None if one.answer is None else known.index(one.answer) for one in samples]
        right = [int(bool(one.correct)) for one in samples]
        places = np.argsort(ranking([one.rewards["likelihood"] for one in samples])).tolist()
        return cls(name, model, record.id, answers, right, places)


def add(name: str, path: Path, *, replace: bool = False, to: Path = POOLS) -> None:
    """Store the samples of a result of best-of-n by likelihood; with `replace`, in place of the set's by this model."""
    result = read(path)
    (model,) = result.manifest["models"]
    lines = Lines(to).all
    others = [one for one in lines if (one["set"], one["model"]) != (name, model["name"])]
    if len(others) < len(lines) and not replace:
        raise SystemExit(f"{to} already has the pools of {name} by {model['name']}: add --replace")
    made = [Pool.of(name, model["name"], record)._asdict() for record in result.records]
    place = next((i for i, one in enumerate(lines) if one not in others), len(others))
    write_whole(to, "".join(json.dumps(one) + "\n" for one in [*others[:place], *made, *others[place:]]))


def kept(path: Path = POOLS) -> list[Pool]:
    """Return all stored pools."""
    return [Pool(**one) for one in Lines(path).all]


def digest_of(pools: Sequence[Pool]) -> str:
    """Return the name of pools: the first 16 digits of the SHA-256 of their samples."""
    return hashlib.sha256(json.dumps([pool._asdict() for pool in pools]).encode()).hexdigest()[:16]


def shares(pools: Sequence[Pool], k: int) -> dict[str, Floats]:
    """Return for each chooser the probability that it is right with k of the samples, by problem."""
    right = [[bool(one) for one in pool.right] for pool in pools]
    places = [[-float(place) for place in pool.places] for pool in pools]
    counts = [(len(one), sum(one)) for one in right]
    return {
        VOTE: majority_at_k([pool.answers for pool in pools], right, k, ties="shared"),
        LIKELIEST: best_at_k(places, right, k),
        ANY: np.array([float(pass_at_k(n, c, k)) for n, c in counts]),
    }


def detectable(gains: Floats) -> float:
    """Return the mean difference that a test at 5% finds with a power of 80%, given the spread of these."""
    return DETECTED * float(gains.std(ddof=1)) / math.sqrt(len(gains))


def table(pools: Sequence[Pool]) -> str:
    """Return a Markdown row for each set, model and chooser; p-values are corrected by Holm over all choosers."""
    head = [
        "set",
        "model",
        "chooser",
        "k = 1",
        *(f"k = {k}" for k in SIZES),
        "all",
        "all beyond one",
        "detectable",
        "p",
    ]
    rows: list[list[str]] = []
    p_values: dict[int, float] = {}
    for (name, model), part in itertools.groupby(pools, key=lambda one: (one.set, one.model)):
        own = list(part)
        most = min(len(pool.right) for pool in own)
        by_size = {k: shares(own, k) for k in (1, *SIZES, most) if k <= most}
        one = by_size[1][VOTE]
        for chooser in by_size[1]:
            values = by_size[most][chooser]
            cells = [f"{name}, {len(own)} problems", _size(model), chooser, _share(one)]
            cells += [_share(by_size[k][chooser]) if k in by_size else "" for k in SIZES]
            cells += [f"{most}: {_share(values)}", "", ""]
            if chooser != ANY:
                low, high = bootstrap(values - one)
                cells[-2] = f"{(values - one).mean():+z.1%} ({low:+z.1%} to {high:+z.1%})"
                cells[-1] = f"{detectable(values - one):.1%}"
                p_values[len(rows)] = permutation(values, one).p
            rows.append(cells)
    corrected = dict(zip(p_values, holm(list(p_values.values())).p, strict=True))
    lines = [
        f"| {' | '.join([*row, f'{corrected[place]:.2g}' if place in corrected else ''])} |"
        for place, row in enumerate(rows)
    ]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines])


def _size(model: str) -> str:
    """Return the part of a model's name that states its size."""
    found = re.search(r"\d+(\.\d+)?[bm]\b", model)
    return found[0].upper() if found else model


def _share(values: Floats) -> str:
    found = clustered(values[:, None], support=SHARES)
    return f"{found.estimate:.1%} ({found.low:.1%} to {found.high:.1%})"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = p.add_subparsers(dest="command")
    adding = commands.add_parser("add", help="store the samples of a result")
    adding.add_argument("name", help="name of the set in the table")
    adding.add_argument("--replace", action="store_true", help="replace the stored samples of this set and model")
    adding.add_argument("result", type=Path, help="result of `intact eval ... --method best_of_n`")
    args = p.parse_args()
    if args.command == "add":
        add(args.name, args.result, replace=args.replace)
    else:
        print(table(kept()))


if __name__ == "__main__":
    main()
