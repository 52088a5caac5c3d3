"""Forward-backward verification: recover hidden numbers of the question from each candidate answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from intact._base.errors import ParameterError, SpentError
from intact._base.exact import power
from intact.reason import Extend, Problem, State, Steps, method
from intact.reason.aggregate.votes import elected, vote
from intact.reason.limits import Count, Natural, Samples, Share, together
from intact.reason.parts.prompting import LONGEST, make_prompt, question, read_value
from intact.reason.problem import SPENT

BACKWARD = """\
{question}

It is known that the answer to this question is {answer}. What is the value of the unknown number x? \
Reason step by step, and end with "The answer is" and the value of x."""

SMOOTHING = 1e-8

_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")


def masked(text: str) -> Iterator[tuple[str, str]]:
    """Yield copies of a question in each of which one number is replaced by x, together with that number."""
    for found in _NUMBER.finditer(text):
        yield text[: found.start()] + "x" + text[found.end() :], found[0].replace(",", "")


@method("Jiang et al. 2023, arXiv 2308.07758 (FOBAR)", group="samples and a vote", independent=True, temperature=0.7)
def forward_backward(
    problem: Problem,
    *,
    n: Samples = 16,
    candidates: Count = 3,
    masks: Natural = 3,
    chains: Count = 4,
    alpha: Share = 0.5,
    backward: str = BACKWARD,
) -> Steps:
    """Sample n completions, and weight their answers by how well the question's numbers can be recovered from them.

    Parameters
    ----------
    candidates : int
        Number of answers that are verified, starting with the most frequent.
    masks : int
        Number of numbers in the question that are hidden, one at a time, starting with the first.
    chains : int
        Number of backward completions per candidate and hidden number.
    alpha : float
        Weight of the forward vote; 1 gives self-consistency, 0 uses only the backward vote.
    backward : str
        Prompt template for recovering the hidden number, with {question} and {answer}.
    """
    samples = yield [Extend(problem.start)] * n
    answers = problem.answers(samples)
    counts = Counter(answer for answer in answers if answer is not None)
    likely = [answer for answer, _ in counts.most_common(candidates)]
    whole = question(problem)
    hidden = [read_value(problem, number) for _, number in islice(masked(whole), masks)]
    hits: Counter[str] = Counter()
    known = len(hidden) - hidden.count(None)  # answers of other kinds than numbers give None
    if len(likely) > 1 and known:
        together(len(likely) * known * chains, "candidates, masks and chains")
        prompts: list[tuple[str, str, State]] = []
        size = 0
        for answer in likely:
            sample = samples[answers.index(answer)]
            for (text, _), number in zip(masked(whole), hidden, strict=False):
                if number is None:
                    continue
                prompt = make_prompt(problem, backward, question=text, answer=answer)
                size += len(prompt if isinstance(prompt, str) else prompt[-1][1])
                if size > LONGEST:
                    raise ParameterError(f"candidates and masks give prompts of more than {LONGEST:,} characters")
                prompts += [(answer, number, sample.ask(prompt))] * chains
        try:
            written = yield [Extend(state) for _, _, state in prompts]
        except SpentError:
            written = []
        if written and all(state.why not in SPENT for state in written):  # otherwise only the forward vote counts
            for (answer, number, _), state in zip(prompts, written, strict=True):
                hits[answer] += problem.answer(state) == number
    forth, back = sum(counts[answer] for answer in likely), sum(hits.values()) + SMOOTHING * len(likely)
    weights = [
        power(counts[answer] / forth, alpha) * power((hits[answer] + SMOOTHING) / back, 1 - alpha) for answer in likely
    ]
    return elected(vote(likely, weights), answers, samples, None, hits=dict(hits), hidden=known)
