"""Accuracy of searches by the quality of a scorer of unfinished texts, from the records of scaling.py's group values.

    python benchmarks/value_searches.py    # print the table

A search is compared with a vote over as many tokens, interpolated between numbers of texts of the pool, on the same
problems. The tokens are those of the search, without its scorer's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import RECORDS, bootstrap
from difficulty import SMALL, Floats
from pools import Pool, detectable, kept
from scaling import Records
from scaling_setups import VALUED
from verifiers import vote_curve

from intact.stats import clustered
from intact.stats.intervals import SHARES
from intact.tasks.score.value.prefixes import PrefixTable, reached_auroc


class SearchRow(NamedTuple):
    """A search with a scorer of a set quality: accuracy by problem, tokens, and a vote over as many tokens."""

    label: str
    quality: float
    right: Floats
    tokens: float
    vote: Floats


def vote_at(votes: Floats, texts: float) -> Floats:
    """Return the accuracy of a vote over a number of texts by problem, interpolated; `votes` has 1, 2, ... texts."""
    place = min(max(texts, 1.0), votes.shape[1]) - 1
    low = min(int(place), votes.shape[1] - 2)
    found: Floats = votes[:, low] + (place - low) * (votes[:, low + 1] - votes[:, low])
    return found


def rows(records: Records, pools: list[Pool], model: str, budget: str = "text=512") -> list[SearchRow]:
    """Return the searches that are recorded, on the pools' problems."""
    by_id = {pool.id: place for place, pool in enumerate(pools)}
    votes = vote_curve(pools, min(16, *(len(pool.right) for pool in pools)))
    sample = [o.tokens for o in records.all if (o.model, o.setup, o.budget) == (model, "self-consistency 4", budget)]
    found = []
    for label in VALUED:
        own = [o for o in records.all if (o.model, o.setup, o.budget) == (model, label, budget) and o.id in by_id]
        if own and sample:
            right = np.array([float(o.correct) for o in own])
            tokens = float(np.mean([o.tokens for o in own]))
            vote = vote_at(votes, tokens / (float(np.mean(sample)) / 4))[[by_id[o.id] for o in own]]
            found.append(SearchRow(label, float(label.rpartition(" ")[2]), right, tokens, vote))
    return found


def table(found: list[SearchRow], values: PrefixTable, linked: Callable[[str], str] = str) -> str:
    """Return the searches as Markdown, with the AUROC that the scorer reaches on unfinished texts."""
    reached = {quality: reached_auroc(values, quality) for quality in sorted({row.quality for row in found})}
    head = ["search", "AUROC, finished", "unfinished", "right", "tokens", "a vote", "beyond it", "detectable"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in found:
        share, gains = clustered(row.right[:, None], support=SHARES), row.right - row.vote
        low, high = bootstrap(gains)
        cells = [linked(row.label), f"{row.quality:g}", f"{reached[row.quality]:.2f}"]
        cells += [f"{share.estimate:.1%} ({share.low:.1%} to {share.high:.1%})", f"{row.tokens:,.0f}"]
        cells += [f"{row.vote.mean():.1%}", f"{gains.mean():+z.1%} ({low:+z.1%} to {high:+z.1%})"]
        lines.append(f"| {' | '.join([*cells, f'{detectable(gains):.1%}'])} |")
    return "\n".join(lines)


def main() -> None:
    path = RECORDS / "prefix_values.json"
    if not Path(path).is_file():
        raise SystemExit(f"{path} is not there: python benchmarks/next_study.py --work DIR --only values,searches")
    pools = [pool for pool in kept() if (pool.set, pool.model.removesuffix(".gguf")) == ("GSM8K", SMALL)]
    print(table(rows(Records(RECORDS / "gsm8k-0-0.7-512.jsonl"), pools, SMALL), PrefixTable.read(path)))


if __name__ == "__main__":
    main()
