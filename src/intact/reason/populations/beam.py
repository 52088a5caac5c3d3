"""Selection of the sequences to continue: beam search and diverse verifier tree search."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from intact._base.exact import ranking


def keep_best(scores: Sequence[float | None], count: int, texts: Sequence[Hashable] | None = None) -> list[int]:
    """Return the indices of the `count` best scores, best first and ties in order, dropping entries without a score.

    Parameters
    ----------
    texts : sequence of hashable
        If given, only the best-ranked of identical sequences is kept.
    """
    order = ranking(scores)
    if texts is not None:
        first: dict[Hashable, int] = {}
        for i in order:
            first.setdefault(texts[i], i)
        order = list(first.values())
    return order[:count]


def best_of_trees(scores: Sequence[float | None], width: int) -> list[int]:
    """Return the best of each tree, where every `width` consecutive entries are the children of one tree's node (DVTS).

    Ties go to the first; a tree whose children have no score is dropped.
    """
    starts = range(0, len(scores), width)
    return [start + i for start in starts for i in keep_best(scores[start : start + width], 1)]
