"""The search of a sweep: decide which problems each setting answers, under a token budget.

Everything is computed in integers from the design and the outcomes of problems; no clock is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from intact._base.errors import ParameterError
from intact.evaluate.sweep.halving import SweepPoint, keep, rank, rung_sizes
from intact.evaluate.sweep.space import SweepTrial

Part: TypeAlias = Literal["training", "held_out"]
SHARE: Final = 0.5
"""The default of `Design.share`."""


class SweepOutcome(NamedTuple):
    """The outcome of a problem: the verdict, its cost, and the error if the method failed."""

    right: bool
    tokens: int
    operations: int = 0
    error: str = ""


Answer: TypeAlias = Callable[[int, Part, int, int], Sequence[SweepOutcome]]
"""A function that answers problems, given a trial's index, the part, and the range of problems (the end is exclusive).
"""


@dataclass(frozen=True)
class Design:
    """Everything that determines the result of a sweep, other than the model.

    Attributes
    ----------
    trials : tuple of SweepTrial
        The baseline, then the settings in the order in which they are tried.
    training, held_out : tuple of str
        The names of the problems to search on and to judge on, in the order in which they are asked.
    tokens : int
        The token budget: half of it is for the search, the other half plus any remainder is for judging.
    first, factor : int
        Number of problems in the first rung; the factor by which rungs grow and the number of settings shrinks.
    finalists : int
        Maximum number of settings judged on the held-out problems.
    margin : float
        The tolerated loss of accuracy.
    level : float
        The probability of declaring any inferior setting non-inferior.
    share : float
        The maximum share of the baseline's tokens that a found setting may use.
    """

    trials: tuple[SweepTrial, ...]
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    tokens: int
    first: int = 8
    factor: int = 3
    finalists: int = 3
    margin: float = 0.03
    level: float = 0.05
    seed: int = 0
    share: float = SHARE

    def __post_init__(self) -> None:
        if len(self.trials) < 2:
            raise ParameterError("the space contains no setting other than the baseline")
        if not self.training or len(self.held_out) < 2:
            raise ParameterError(
                f"a sweep needs at least one problem to search on and two to judge on, got {len(self.training)} and "
                f"{len(self.held_out)}"
            )
        if both := sorted(set(self.training) & set(self.held_out)):
            raise ParameterError(f"the problem {both[0]} is in both parts")
        if not 0 < self.margin < 1 or not 0 < self.level < 1:
            raise ParameterError(f"margin and level must lie between 0 and 1, got {self.margin} and {self.level}")
        if not 0 < self.share <= 1:
            raise ParameterError(f"the share of tokens must lie in (0, 1], got {self.share}")
        if self.tokens < 1 or self.finalists < 1:
            raise ParameterError(f"tokens and finalists must be at least 1, got {self.tokens} and {self.finalists}")
        rung_sizes(len(self.training), self.first, self.factor)  # raises

    @property
    def rungs(self) -> tuple[int, ...]:
        """The number of training problems in each rung."""
        return rung_sizes(len(self.training), self.first, self.factor)

    def as_dict(self) -> dict[str, Any]:
        """Return the design as a JSON object; a default `share` is omitted, as in files written before it existed."""
        trials = [{"label": trial.label, **trial._asdict()} for trial in self.trials]
        return {
            "trials": trials,
            "training": list(self.training),
            "held_out": list(self.held_out),
            "rungs": list(self.rungs),
            **{name: getattr(self, name) for name in ("tokens", "factor", "finalists", "margin", "level", "seed")},
            **({} if self.share == SHARE else {"share": self.share}),
        }


class Rung(NamedTuple):
    """A rung: the number of problems each setting has answered by its end, and the outcome for the settings.

    Attributes
    ----------
    points : dict of int to SweepPoint
        Results by trial, for the baseline and the settings in this rung.
    kept, unaffordable, failed : list of int
        The trials that advance, from best to worst; those that would advance but exceed the budget; those that failed.
    """

    problems: int
    points: dict[int, SweepPoint]
    kept: list[int]
    unaffordable: list[int]
    failed: list[int]


@dataclass
class Search:
    """The state of a search and, at its end, its result.

    Attributes
    ----------
    outcomes : dict
        The outcomes of each trial on each part, in the order of problems.
    untried : list of int
        Trials for which no tokens were left.
    finalists : list of int
        Trials to judge, from best to worst according to the last rung.
    judged : int
        The number of held-out problems.
    """

    design: Design
    rungs: list[Rung] = field(default_factory=list)
    outcomes: dict[tuple[int, Part], list[SweepOutcome]] = field(default_factory=dict)
    untried: list[int] = field(default_factory=list)
    finalists: list[int] = field(default_factory=list)
    judged: int = 0

    @property
    def spent(self) -> int:
        """The tokens of all outcomes."""
        return sum(one.tokens for outcomes in self.outcomes.values() for one in outcomes)

    def point(self, trial: int, part: Part) -> SweepPoint:
        """Return a trial's right answers and tokens on a part."""
        found = self.outcomes[trial, part]
        return SweepPoint(sum(one.right for one in found), sum(one.tokens for one in found))

    def expected(self, trial: int, problems: int) -> int:
        """Return how many tokens a trial is expected to use for more problems, from its mean so far, rounded up."""
        found = self.outcomes[trial, "training"]
        return -(-sum(one.tokens for one in found) * problems // len(found))


def search(design: Design, answer: Answer) -> Search:
    """Search on the training part by successive halving, then run the finalists and the baseline on the held-out part.

    The baseline takes part in every rung. In the first rung, a trial starts while tokens of the search's half are left.
    Later, trials advance in the order of `rank`, if the tokens each is expected to use, given its mean so far, are
    left. The held-out part is as large as the remaining tokens allow, given the means on the training part. The budget
    is thus met in expectation, not to the token; `Search.spent` is the actual number.

    Raises
    ------
    ParameterError
        If the baseline fails, or the tokens do not suffice to try or judge one setting.
    """
    found = Search(design)
    share = design.tokens // 2

    def ask(trial: int, part: Part, stop: int) -> None:
        known = found.outcomes.setdefault((trial, part), [])
        known += answer(trial, part, len(known), stop)

    alive = list(range(len(design.trials)))
    for number, size in enumerate(design.rungs):
        for trial in alive:
            if number == 0 and trial and found.spent >= share:
                found.untried.append(trial)
            else:
                ask(trial, "training", size)
        alive = [trial for trial in alive if trial not in found.untried]
        failed = [trial for trial in alive if all(one.error for one in found.outcomes[trial, "training"])]
        if 0 in failed:
            raise ParameterError(f"the baseline failed on every problem: {found.outcomes[0, 'training'][0].error}")
        points = {trial: found.point(trial, "training") for trial in alive}
        others = [trial for trial in alive if trial and trial not in failed]
        if not others:
            _too_few(found, failed)
        last = number == len(design.rungs) - 1
        own = [points[trial] for trial in others]
        order = [others[i] for i in (rank(own) if last else keep(own, design.factor))]
        kept, unaffordable = order, list[int]()
        if not last:
            more = design.rungs[number + 1] - size
            left = share - found.spent - found.expected(0, more)
            kept, unaffordable = _affordable(found, order, more, left)
        found.rungs.append(Rung(size, points, kept, unaffordable, failed=failed))
        if not kept:
            kept = order
            found.rungs[-1] = found.rungs[-1]._replace(kept=kept)
            break
        alive = [0, *kept]
    found.finalists = found.rungs[-1].kept[: design.finalists]
    _judge(found, ask)
    return found


def _affordable(found: Search, order: Sequence[int], more: int, left: int) -> tuple[list[int], list[int]]:
    """Return the trials that can advance with the remaining tokens, and the others."""
    kept, unaffordable = list[int](), list[int]()
    for trial in order:
        cost = found.expected(trial, more)
        (kept if cost <= left else unaffordable).append(trial)
        left -= cost if cost <= left else 0
    return kept, unaffordable


def _judge(found: Search, ask: Callable[[int, Part, int], None]) -> None:
    """Run the baseline and the finalists on the number of held-out problems that the remaining tokens allow."""
    design = found.design
    left = design.tokens - found.spent
    while found.finalists:
        # the expected tokens for the last rung's number of problems are exact sums
        problems = len(found.outcomes[0, "training"])
        each = sum(found.expected(trial, problems) for trial in (0, *found.finalists))
        found.judged = min(len(design.held_out), max(0, left) * problems // max(1, each))
        if found.judged >= 2:
            break
        found.finalists.pop()
    else:
        raise ParameterError(
            f"{found.spent:,} of {design.tokens:,} tokens are spent, which leaves too few to judge one setting: give "
            "more tokens; all answers are kept in the journal"
        )
    for trial in (0, *found.finalists):
        ask(trial, "held_out", found.judged)


def _too_few(found: Search, failed: Sequence[int]) -> None:
    if failed:
        error = found.outcomes[failed[0], "training"][0].error
        raise ParameterError(f"every setting failed; the first was {found.design.trials[failed[0]].label}: {error}")
    raise ParameterError(
        f"the baseline used {found.spent:,} of {found.design.tokens:,} tokens on the first rung, but only half of them "
        "is for the search: give more tokens, or a smaller first rung"
    )
