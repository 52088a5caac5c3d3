"""Saffron: a beam over single tokens, whose children one pass of a multifurcation reward model judges together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple, TypeAlias

from intact.exact import exp, total
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.likeliest import rivals
from intact.reason.limits import Count, Likeliest, Named, Natural, Need, Share
from intact.reason.populations.beam import keep_best
from intact.reason.problem import Top
from intact.reason.stepwise import FinalRule, or_spent, settle, until_spent

PartScorer: TypeAlias = Annotated[str, Named("scorer", Need(parts=True))]


class Judged(NamedTuple):
    """A text with its newest reward."""

    state: State
    reward: float


def nucleus(chances: Sequence[float], top_p: float) -> int:
    """Return how many of the likeliest tokens are children: those before which less than `top_p` of the mass stands.

    The likeliest always is one.
    """
    before = 0.0
    for count, chance in enumerate(chances):
        if count and before >= top_p:
            return count
        before = total([before, chance])
    return len(chances)


def children(probe: State, parent: State, ends: frozenset[str], top_p: float, *, may_end: bool) -> list[State]:
    """Return a text's continuations by each token of its nucleus, the likeliest first.

    The likeliest token is the one that the probe wrote. The others are appended as text. A token that ends texts makes
    an ended one, whose last piece is empty; where texts may not end, the nucleus is that of the other tokens.

    Parameters
    ----------
    probe : State
        The parent with the likeliest token behind it, and the likeliest tokens at that place.
    ends : frozenset of str
        The texts by which end tokens are named.
    """
    if probe.why in ("context", "closed", "error"):
        return [probe]
    if probe.why == "budget":
        return []
    if not rivals(probe):
        return []
    place: Top = probe.top[-1]
    named = ends | {place[0][0]} if probe.why == "end" else ends
    known = [(i, word, exp(value / LOGPROB_SCALE)) for i, (word, value) in enumerate(place)]
    allowed = [one for one in known if may_end or one[1] not in named]
    left = 1 - total([chance for _, word, chance in known if not may_end and word in named])
    kept = allowed[: nucleus([chance / left for _, _, chance in allowed], top_p)] if left > 0 else []
    found = []
    for i, word, _ in kept:
        if word in named:
            found.append(replace(parent.append(""), why="end"))
        elif i == 0:
            found.append(probe)
        elif word and "\ufffd" not in word:  # a part of a character cannot be appended
            found.append(parent.append(word, special=False))
    return found


@method("Qiu et al. 2025, arXiv 2506.06444", group="search step by step", temperature=0.0)
def saffron(
    problem: Problem,
    *,
    n: Count = 4,
    scorer: PartScorer = "p_true",
    top_p: Share = 0.8,
    k: Likeliest = 20,
    tokens: Count = 128,
    least: Natural = 16,
    final: FinalRule = "best",
) -> Steps:
    """Write n texts token by token: of all likely next tokens of all texts those with the largest rewards go on.

    Parameters
    ----------
    n : int
        Texts that are kept at a time, ended ones included.
    scorer : str
        Who judges; next_value:FILE judges all next tokens of a text in one pass.
    top_p : float
        The share of the probability whose tokens are tried.
    k : int
        Tokens of a text that are tried at most, to 20.
    tokens : int
        Tokens of a text at most.
    least : int
        Tokens before a text may end.
    final : str
        How texts make the answer: best, weighted or majority.
    """
    open_texts, ended, written = [Judged(problem.start, 0.0)], list[Judged](), 0
    greedy: State | None = None
    with until_spent() as spent:
        greedy = yield Extend(problem.start, temperature=0.0, max_tokens=tokens, top_logprobs=1)
        ends = frozenset([greedy.top[-1][0][0]] if greedy.why == "end" and rivals(greedy) else [])
        while open_texts and written < tokens:
            parents = [text.state for text in open_texts]
            probes = yield [Extend(state, max_tokens=1, temperature=0.0, top_logprobs=k) for state in parents]
            grown = [
                child
                for probe, parent in zip(probes, parents, strict=True)
                for child in children(probe, parent, ends, top_p, may_end=written >= least)
            ]
            if not grown:
                break
            rewards = yield Score(scorer, grown)
            kept = keep_best(rewards, n)
            texts = [Judged(grown[i], rewards[i]) for i in kept]
            ended = [*ended, *[text for text in texts if text.state.ended]]
            ended = [ended[i] for i in keep_best([text.reward for text in ended], n)]
            open_texts = [text for text in texts if not text.state.ended][: n - len(ended)]
            written += 1
    if greedy is None:
        raise spent[0]
    if not written:
        return or_spent(take(problem, greedy), spent)
    last = [*ended, *open_texts]
    answer = settle(problem, [text.state for text in last], [text.reward for text in last], final, tokens=written)
    return or_spent(answer, spent)
