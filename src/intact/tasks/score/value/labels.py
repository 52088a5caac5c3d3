"""Values of tokens: the share of right completions with the same prefix (Lee et al. 2024, arXiv 2407.12863)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction

from intact._base.errors import ParameterError


def prefix_values(texts: Sequence[Sequence[Hashable]], right: Sequence[bool]) -> list[list[Fraction]]:
    """Return the value of each token: the share of right completions among those with the same prefix up to it.

    `V(t_1..t_i) = (right completions that begin with t_1..t_i) / (completions that begin with t_1..t_i)`, which
    estimates the probability that a completion with this prefix ends in a right answer. If no other completion shares
    the prefix, it is the completion's own outcome. If the completions are given as branches of a search, one per
    simulation, it is the mean value Q of each node on the path, with a reward of 1 for a right completion and 0 for a
    wrong one (AlphaMath, Chen et al. 2024, arXiv 2405.03553).

    Parameters
    ----------
    texts : sequence of sequence
        The tokens of completions for one problem, sampled independently; or their branches.
    right : sequence of bool, of the same length
        True for each completion whose answer is right.

    Raises
    ------
    ParameterError
        If the number of flags differs from the number of completions.
    """
    if len(texts) != len(right):
        raise ParameterError(f"each text needs a flag, got {len(texts)} texts and {len(right)} flags")
    values = [[Fraction(0)] * len(text) for text in texts]
    alike, place = [list(range(len(texts)))], 0
    while alike:
        groups: dict[tuple[int, Hashable], list[int]] = {}
        for number, group in enumerate(alike):
            for i in group:
                if place < len(texts[i]):
                    groups.setdefault((number, texts[i][place]), []).append(i)
        alike = list(groups.values())
        for group in alike:
            share = Fraction(sum([right[i] for i in group]), len(group))
            for i in group:
                values[i][place] = share
        place += 1
    return values
