"""Selection of the texts that go on: beam search and diverse verifier tree search."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from intact._base.exact import ranking


def keep_best(scores: Sequence[float | None], count: int, texts: Sequence[Hashable] | None = None) -> list[int]:
    """Return the `count` best by score, the best first, equals in their order; those without a score are never kept.

    Parameters
    ----------
    texts : sequence of hashable
        If given, of equal texts only the best ranked is kept.
    """
    order = ranking(scores)
    if texts is not None:
        first: dict[Hashable, int] = {}
        for i in order:
            first.setdefault(texts[i], i)
        order = list(first.values())
    return order[:count]


def best_of_trees(scores: Sequence[float | None], width: int) -> list[int]:
    """Return the best of each tree, where every `width` neighbours are the children of one tree's node (DVTS).

    Equals go to the first; a tree whose children have no score has none.
    """
    starts = range(0, len(scores), width)
    return [start + i for start in starts for i in keep_best(scores[start : start + width], 1)]
