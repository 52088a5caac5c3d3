"""The errors of choosers, split into a part that more samples reduce and the model's own error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from intact._base.exact import exp
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, points, settled, three, with_bounds
from intact.evaluate.report.sections.base import MIXED, Arms, Drawn, OmittedError, drawn_samples, section_by_run
from intact.evaluate.results import ItemSample
from intact.reason.aggregate.best import best_of_n
from intact.reason.aggregate.mixture import Mixture, fit
from intact.reason.aggregate.rpc import distinct_weights, inclusion_weights, probabilities, prune, seen_errors
from intact.reason.aggregate.votes import vote
from intact.stats.association import ratio_of_sums
from intact.stats.intervals import DIFFERENCES, SHARES, Interval, Support
from intact.stats.paired import McNemar, mcnemar

_NEUTRAL = {
    "temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "typical_p": 1, "repetition_penalty": 1,
    "presence_penalty": 0, "frequency_penalty": 0, "min_tokens": 0, "ignore_eos": False,
}  # fmt: skip
"""Sampling parameters under which completions are drawn from the model's own distribution."""
_MOST = 10_000
"""Maximum number of samples of a run for RPC to be shown: its mixture takes about 20 ms per sample."""
_CONSTRAINTS = ("logit_bias", "json_schema", "regex", "grammar")


class ChooserErrors(NamedTuple):
    """A chooser's estimate of the right answer's probability.

    For best-of-N the estimate is 1 if the chosen answer is right, else 0; for a reward-weighted vote, it is the right
    answers' share of the total reward.

    Attributes
    ----------
    total : Interval
        The mean squared distance of the estimate from 1.
    estimation : Interval
        The total minus the model's error; it may be negative.
    accuracy : float
        The share of problems where the chooser picks a right answer.
    against_vote : McNemar or None
        The chooser compared with the vote on the same samples; None for the vote itself.
    """

    total: Interval
    estimation: Interval
    accuracy: float
    against_vote: McNemar | None


class EstimationFindings(NamedTuple):
    """The errors of choosers in one run.

    Attributes
    ----------
    samples : int
        Number of samples per problem.
    model : Interval
        The mean of `(P - 1)^2` over problems, P being the probability of right answers.
    choosers : dict of str to ChooserErrors
        The vote; `consistency`, `inclusion` and `rpc` if completions were drawn from the model's own distribution; for
        each scorer that rewarded all completions, `best by NAME`, and `weighted by NAME` if no reward is negative. Runs
        of more than 10,000 samples have no `rpc`.
    why_not : str
        The reason why the probability-based choosers are missing; empty if they are present.
    copies : float
        The share of completions that duplicate another completion of their problem.
    seen_mass : float
        The total probability of a problem's distinct completions, averaged over problems.
    """

    samples: int
    model: Interval
    choosers: dict[str, ChooserErrors]
    why_not: str
    copies: float
    seen_mass: float


def measure(samples: Drawn, sampling: Mapping[str, Any]) -> EstimationFindings:
    """Measure the errors of choosers on the samples of a run, drawn with these sampling parameters."""
    count = min(map(len, samples.values()))
    if count < 2 or len(samples) < MIXED:
        raise OmittedError(f"estimation errors need two samples of each of {MIXED} problems")
    own = [list(each[:count]) for each in samples.values()]
    changed = _changed(sampling)
    texts = [[(one.tokens, one.logprob, one.answer) for one in each] for each in own]
    right = [[bool(one.correct) for one in each] for each in own]
    logprobs = [[min(one.logprob, 0.0) for one in each] for each in own]
    found = [seen_errors(*each) for each in zip(texts, logprobs, right, strict=True)]
    chosen = {"vote": [_right(vote([one.answer for one in each]).answer, each) for each in own]}
    errors = {"vote": [float(one.vote) for one in found]}
    if not changed:
        kept = None if count * len(own) > _MOST else [prune(probabilities(of, None), _fit).kept for of in logprobs]
        for name, weights in _weights_of(texts, logprobs, kept).items():
            answers = [vote([one.answer for one in each], of).answer for each, of in zip(own, weights, strict=True)]
            chosen[name] = [_right(answer, each) for answer, each in zip(answers, own, strict=True)]
        errors |= {name: [float(getattr(one, name)) for one in found] for name in ("consistency", "inclusion")}
        if kept is not None:
            errors["rpc"] = [_pruned_error(*each) for each in zip(texts, logprobs, right, kept, strict=True)]
    for name, of_rewards in _by_rewards(own).items():
        chosen[name], errors[name] = of_rewards
    model = [float(one.model) for one in found]
    return EstimationFindings(
        count,
        _mean(model),
        {
            name: ChooserErrors(
                _mean(errors[name]),
                _mean(np.subtract(errors[name], model).tolist(), DIFFERENCES),
                float(np.mean(verdicts)),
                None if name == "vote" else mcnemar(verdicts, chosen["vote"]),
            )
            for name, verdicts in chosen.items()
        },
        changed,
        copies=1 - sum(len(set(each)) for each in texts) / (count * len(texts)),
        seen_mass=float(np.mean([sum(np.exp(logprob) for _, logprob, _ in dict.fromkeys(each)) for each in texts])),
    )


def _changed(sampling: Mapping[str, Any]) -> str:
    """Return why completions do not come from the model's own distribution; an empty string if they do."""
    if sampling.get("temperature") != 1:
        return f"texts were drawn at temperature {sampling.get('temperature', 0):g}, not 1"
    for name, value in sampling.items():
        if (name in _NEUTRAL and value != _NEUTRAL[name]) or (name in _CONSTRAINTS and value):
            return f"{name} kept texts from being drawn as the model has them"
    return ""


def _weights_of(
    texts: Sequence[Sequence[Any]], logprobs: Sequence[Sequence[float]], kept: Sequence[Sequence[bool]] | None
) -> dict[str, list[list[Fraction]]]:
    """Return the weights of each problem's completions by chooser; RPC is included only if those it keeps are given.

    Probabilities are relative to the largest, which does not change any choice.
    """
    scaled = [probabilities(of, None) for of in logprobs]
    found = {
        "consistency": [distinct_weights(*each) for each in zip(texts, scaled, strict=True)],
        "inclusion": [inclusion_weights(*each) for each in zip(texts, logprobs, strict=True)],
    }
    if kept is not None:
        found["rpc"] = [distinct_weights(*each) for each in zip(texts, scaled, kept, strict=True)]
    return found


def _pruned_error(
    texts: Sequence[Any], logprobs: Sequence[float], right: Sequence[bool], kept: Sequence[bool]
) -> float:
    """Return the squared distance from 1 of the probability of the distinct right completions that pruning keeps."""
    both = [one and good for one, good in zip(kept, right, strict=True)]
    return float((sum(distinct_weights(texts, [exp(value) for value in logprobs], both), Fraction(0)) - 1) ** 2)


def _fit(values: Sequence[float]) -> Mixture | None:
    """Fit RPC's mixture; cached per set of values, since it does not depend on their order."""
    return _fit_sorted(tuple(sorted(values)))


@lru_cache(maxsize=1024)
def _fit_sorted(values: tuple[float, ...]) -> Mixture | None:
    return fit(values)


def _by_rewards(own: Sequence[Sequence[ItemSample]]) -> dict[str, tuple[list[bool], list[float]]]:
    """Return the verdicts of reward-based choosers and the squared distances of their estimates from 1, by problem."""
    found = {}
    for scorer in sorted(set.intersection(*(set(one.rewards) for each in own for one in each))):
        rewards = [[one.rewards[scorer] for one in each] for each in own]
        best = [_best(each, of) for each, of in zip(own, rewards, strict=True)]
        found[f"best by {scorer}"] = best, [float(not good) for good in best]
        if min(map(min, rewards)) >= 0:
            weights = [of if any(of) else [1.0] * len(of) for of in rewards]
            answers = [vote([one.answer for one in each], of) for each, of in zip(own, weights, strict=True)]
            shares = [
                float(np.dot(of, [bool(one.correct) for one in each]) / sum(of))
                for each, of in zip(own, weights, strict=True)
            ]
            verdicts = [_right(one.answer, each) for one, each in zip(answers, own, strict=True)]
            found[f"weighted by {scorer}"] = verdicts, [(share - 1) ** 2 for share in shares]
    return found


def _best(samples: Sequence[ItemSample], rewards: Sequence[float]) -> bool:
    """Return true if the completion with the largest reward is right; completions without an answer come last."""
    place = best_of_n([None if one.answer is None else of for one, of in zip(samples, rewards, strict=True)])
    return place is not None and bool(samples[place].correct)


def _right(answer: str | None, samples: Sequence[ItemSample]) -> bool:
    return any(one.correct for one in samples if one.answer == answer and answer is not None)


def _mean(values: Sequence[float], support: Support = SHARES) -> Interval:
    return ratio_of_sums(values, np.ones(len(values)), support=support)


def _measure_arm(arm: ReportArm) -> EstimationFindings:
    return measure(drawn_samples(arm), arm.run.manifest["method"].get("sampling", {}))


def _show(found: Mapping[str, EstimationFindings], _: Arms) -> Iterator[Block]:
    yield from table(
        (
            {
                "run": name,
                "chooser": _CALLED.get(chooser, chooser),
                "mean squared error": with_bounds(errors.total, three),
                "of the model": with_bounds(one.model, three),
                "of estimation": with_bounds(errors.estimation, three),
                "right": percent(errors.accuracy),
                "points over the vote": with_bounds(errors.against_vote and errors.against_vote.interval, points),
            }
            for name, one in found.items()
            for chooser, errors in one.choosers.items()
        ),
        "A chooser estimates the probability of the right answer; its error is the squared distance from 1. The "
        "model's part is that of the probability itself, which no number of samples mends; of the vote the rest is "
        "p (1 - p) / n. Perplexity consistency adds up the probabilities of distinct texts, and falls short where "
        "few of all texts are seen; inclusion divides each by the chance of seeing it; RPC prunes improbable texts "
        "first. A vote weighted by rewards estimates the share of the rewards that right answers have, best-of-N 1 "
        "or 0, as it stakes all on one text: their errors need not tend to the model's. Estimation is the total "
        "less the model's part, so that it may be negative. In parentheses 95% intervals over problems.",
    )
    for name, one in found.items():
        if one.why_not:
            yield Paragraph(f"{name}: choosers by probabilities of texts are not shown, because {one.why_not}.")
    for name, one in found.items():
        if not one.why_not and "rpc" not in one.choosers:
            why = f"its mixture would be fitted to more than {_MOST:,} samples"
            yield Paragraph(f"{name}: RPC is not shown, because {why}.")


_CALLED = {"consistency": "perplexity consistency", "rpc": "RPC"}


def _sentence(one: EstimationFindings) -> str:
    error = one.choosers["vote"]
    words = (
        f"the vote of {one.samples} has an error of {three(error.total.estimate)}, of which "
        f"{three(one.model.estimate)} is the model's own and {three(error.estimation.estimate)} would go with more "
        "samples"
    )
    if not one.why_not:
        words += (
            f"; {percent(one.copies)} of the texts are copies of others, and the distinct ones have a probability of "
            f"{settled(one.seen_mass):.2g} together"
        )
    return f"{words}."


SECTION = section_by_run(
    "Estimation and model error",
    110,
    _measure_arm,
    _show,
    sources=("arXiv 2502.00511 and 2510.15444, at this n in place of many samples, estimated from one set of samples",),
    sentence=_sentence,
)
