"""Measure the savings and losses of `stop_mean_below`, on the recorded texts of study/humaneval.md.

    python benchmarks/stopping.py             # 3,280 texts, some minutes of sandbox

The rule only ends texts, so recorded texts with their log-probabilities show where it ends each; the model computes
nothing. The rest of a shortened text is judged by the tests again, because it may be a right program without its end.
For comparison, each bound is shown with the largest cap on all texts (`max_tokens`) that saves as many tokens.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from published import MODEL, unpack

from intact.engine.sampling.stopping import is_unlikely
from intact.evaluate.judging import Judge
from intact.evaluate.plan import plan
from intact.numerics.sampling import millionths
from intact.reason.backends.base import Backend, Spelling
from intact.reason.driving.services import MethodJob
from intact.reason.problem import State
from intact.solving.run import opened, solve_all
from intact.stats.association import ratio_of_sums, share_of_samples
from intact.stats.intervals import Interval
from intact.tasks.choose import Chosen, choose
from intact.tasks.task import Item

SETTINGS = ((8, -2.0), (16, -1.0), (16, -1.25), (16, -1.5), (32, -0.75), (32, -1.0))
"""Windows and bounds."""


class RecordedText(NamedTuple):
    """A text: the log-probability of each token, and whether a prefix of some number of tokens is a right program."""

    logprobs: Sequence[int]
    is_right: Callable[[int], bool]

    @property
    def count(self) -> int:
        """The number of tokens."""
        return len(self.logprobs)


Problems = Sequence[Sequence[RecordedText]]


def kept_by_rule(text: RecordedText, window: int, bound: float) -> int:
    """Return the number of tokens of a text after the rule is applied."""
    ends = (n for n in range(1, text.count) if is_unlikely(text.logprobs[:n], millionths(bound), window))
    return next(ends, text.count)


def cap_that_saves(problems: Problems, saved: int) -> int:
    """Return the largest cap on the tokens of all texts that saves at least as many tokens."""
    counts = [text.count for texts in problems for text in texts]
    return next(cap for cap in range(max(counts), -1, -1) if sum(max(0, n - cap) for n in counts) >= saved)


class Effect(NamedTuple):
    """The effect of ending texts early, with intervals over problems.

    Attributes
    ----------
    ended : Interval
        The share of texts that are ended.
    saved : Interval
        The share of tokens that are not generated.
    lost : Interval
        The share of right programs that become wrong, minus those that become right.
    hopeful : Interval
        The share of the ended texts that were right if written to their end.
    """

    ended: Interval
    saved: Interval
    lost: Interval
    hopeful: Interval


def effect(problems: Problems, kept: Sequence[Sequence[int]]) -> Effect:
    """Return the effect of keeping the given number of tokens of each text."""
    pairs = [list(zip(texts, own, strict=True)) for texts, own in zip(problems, kept, strict=True)]
    ended = [[text for text, n in own if n < text.count] for own in pairs]
    right = [sum(text.is_right(text.count) for text in texts) for texts in problems]
    left = [sum(text.is_right(n) for text, n in own) for own in pairs]
    return Effect(
        share_of_samples([len(texts) for texts in ended], [len(texts) for texts in problems]),
        ratio_of_sums(
            [sum(text.count - n for text, n in own) for own in pairs],
            [sum(text.count for text in texts) for texts in problems],
        ),
        ratio_of_sums([before - after for before, after in zip(right, left, strict=True)], right),
        share_of_samples(
            [sum(text.is_right(text.count) for text in texts) for texts in ended], [len(texts) for texts in ended]
        ),
    )


def is_right(judge: Judge, chosen: Chosen, item: Item, state: State, lengths: Sequence[int], count: int) -> bool:
    """Return true if the first tokens of a text are a right program; `lengths` are the characters up to each token."""
    text = state.text if count == state.length else state.text[: lengths[count - 1]]
    return bool(judge.ask(chosen.task, item, chosen.read(item, text, count < state.length)).result())


def recorded(backends: Mapping[str, Backend], judge: Judge, journal: Path) -> Iterator[list[RecordedText]]:
    """Yield the texts of each problem of the published run, from a journal made by `published.py unpack`."""
    sampling = {"temperature": 0.8, "max_tokens": 384}
    run = plan([choose("humaneval:style=base")], "self_consistency", {"n": 20}, sampling=sampling)
    ((backend,), (chosen,), units) = backends.values(), run.tasks, list(run.units())
    assert isinstance(backend, Spelling)
    jobs = [MethodJob(run.method, run.problem(unit, False), run.parameters) for unit in units]
    for number, result in solve_all(backends, jobs, sampling=run.task_sampling(0, False), journal=journal):
        item, population = run.item(units[number]), result.answer.population
        assert population is not None
        lengths = [backend.lengths(jobs[number].problem.start, state.tokens) for state in population.values]
        yield [
            RecordedText(state.logprobs, partial(is_right, judge, chosen, item, state, own))
            for state, own in zip(population.values, lengths, strict=True)
        ]


def percent(one: Interval) -> str:
    """Format a share with its interval."""
    return f"{one.estimate:.1%} ({one.low:.1%} to {one.high:.1%})"


def table(problems: Problems) -> Iterator[str]:
    """Yield the lines of a Markdown table, one for each setting."""
    head = ("window", "bound", "texts ended", "right if they went on", "tokens saved", "right lost")
    yield "| " + " | ".join((*head, "cap that saves as much", "right lost by it")) + " |"
    yield "|---" * (len(head) + 2) + "|"
    for window, bound in SETTINGS:
        kept = [[kept_by_rule(text, window, bound) for text in texts] for texts in problems]
        saved = sum(text.count - n for texts, own in zip(problems, kept, strict=True)
                    for text, n in zip(texts, own, strict=True))  # fmt: skip
        cap = cap_that_saves(problems, saved)
        one = effect(problems, kept)
        other = effect(problems, [[min(cap, text.count) for text in texts] for texts in problems])
        shares = map(percent, (one.ended, one.hopeful, one.saved, one.lost))
        yield f"| {window} | {bound:g} | {' | '.join(shares)} | {cap} | {percent(other.lost)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = Path(os.environ.get("INTACT_MODELS", "~/.cache/intact-test-models")).expanduser()
    parser.add_argument("--model", type=Path, default=models / MODEL)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        journal = Path(name) / "journal"
        unpack("humaneval", journal)
        with opened(str(options.model)) as backends, Judge(journal) as judge:
            problems = list(recorded(backends, judge, journal))
            texts = [text for own in problems for text in own]
            tokens, right = sum(text.count for text in texts), sum(text.is_right(text.count) for text in texts)
            print(f"{len(texts)} texts of {tokens} tokens, {right} of them right ({right / len(texts):.1%})\n")
            for line in table(problems):
                print(line, flush=True)


if __name__ == "__main__":
    main()
