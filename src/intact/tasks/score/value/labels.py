"""Values of tokens: the share of right texts among those that begin alike (Lee et al. 2024, arXiv 2407.12863)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction

from intact._base.errors import ParameterError


def prefix_values(texts: Sequence[Sequence[Hashable]], right: Sequence[bool]) -> list[list[Fraction]]:
    """Return the value of each token of each text: the share of right ones of all texts that begin with it.

    `V(t_1..t_i) = (right texts that begin with t_1..t_i) / (texts that begin with t_1..t_i)`, which estimates the
    chance that a text that begins so ends in a right answer. Where no other text begins so it is the text's outcome.

    Of branches of a search's texts, one for each simulation, it is the mean value Q of each node on the way, if a right
    text is rewarded with 1 and a wrong one with 0 (AlphaMath, Chen et al. 2024, arXiv 2405.03553).

    Parameters
    ----------
    texts : sequence of sequence
        The tokens of texts of one problem, drawn independently; or their branches.
    right : sequence of bool, of the same length
        Whether each one's answer is right.

    Raises
    ------
    ParameterError
        If there is not one flag for each text.
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
