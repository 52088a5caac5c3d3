"""Saffron: a beam search over single tokens, in which a multifurcation reward model scores all children in one pass."""

from __future__ import annotations

from typing import Annotated, NamedTuple, TypeAlias

from intact.reason import Extend, Problem, Score, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Count, Likeliest, Named, Natural, Need, Share, TextLength
from intact.reason.parts.next_tokens import branch, end_words
from intact.reason.parts.stepwise import FinalRule, or_spent, settle, until_spent
from intact.reason.populations.beam import keep_best

PartScorer: TypeAlias = Annotated[str, Named("scorer", Need(parts=True))]


class Judged(NamedTuple):
    """A sequence with its newest reward."""

    state: State
    reward: float


@method("Qiu et al. 2025, arXiv 2506.06444", version=2, group="search step by step", temperature=0.0)
def saffron(
    problem: Problem,
    *,
    n: Count = 4,
    scorer: PartScorer = "p_true",
    top_p: Share = 0.8,
    k: Likeliest = 20,
    tokens: TextLength = 512,
    least: Natural = 16,
    final: FinalRule = "best",
) -> Steps:
    """Extend n sequences token by token, keeping the likely next tokens with the largest rewards.

    Parameters
    ----------
    n : int
        Number of sequences kept at a time, including finished ones.
    scorer : str
        Scorer; next_value:FILE scores all next tokens of a sequence in one pass.
    top_p : float
        Share of the probability covered by the candidate tokens.
    k : int
        Maximum number of candidate tokens per sequence, at most 20.
    tokens : int
        Maximum number of tokens per sequence; the user's `max_tokens` takes precedence over the default.
    least : int
        Minimum number of tokens before a sequence may end.
    """
    open_texts, ended, written = [Judged(problem.start, 0.0)], list[Judged](), 0
    greedy: State | None = None
    with until_spent() as spent:
        greedy = yield Extend(problem.start, temperature=0.0, max_tokens=tokens, top_logprobs=1)
        ends = end_words(greedy)
        while open_texts and written < tokens:
            families = yield from branch(
                [text.state for text in open_texts], ends, top_p=top_p, k=k, may_end=written >= least
            )
            grown = [child.state for family in families for child in family]
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
