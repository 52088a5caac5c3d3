"""The choice of a method for a question: learnt from own logs, judged on problems that were held out.

A log is what ``intact solve --task ... --journal DIR`` writes for each method: ``answers.jsonl``, a result a line. How
hard a question is shows in a few first samples: the share of the answer that most of them give.
"""

from __future__ import annotations

import itertools
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from intact._base.errors import FormatError, ParameterError
from intact._base.exact import root
from intact._base.files import numbered_lines, write_whole
from intact.numerics.sampling import branch_key

VERSION: Final = 1
"""Of how a table of methods chooses one for a question; raise it when that changes (`solving/receipts/versions.py`)."""
EDGES = (0.5, 1.0)
"""Agreement from which a question counts as of medium difficulty, and as easy."""


MOST_PILOT = 1 << 12
"""Samples that are drawn before a choice."""


class Arm(NamedTuple):
    """A method with parameters, as sorted JSON."""

    method: str
    parameters: str = "{}"

    @classmethod
    def of(cls, method: str, parameters: Mapping[str, Any]) -> Arm:
        """Make the arm of parameters."""
        return cls(method, json.dumps(dict(parameters), sort_keys=True))

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters."""
        settings: dict[str, Any] = json.loads(self.parameters)
        return settings


class Trial(NamedTuple):
    """The result of an arm on a problem: whether the answer was right, what it cost, and the votes."""

    correct: bool
    tokens: int
    votes: Mapping[str, float]


Log: TypeAlias = Mapping[Arm, Mapping[str, Trial]]
"""For each arm the trials of problems by their ids."""


def read_logs(files: Iterable[Path]) -> dict[Arm, dict[str, Trial]]:
    """Read results, graded, of any number of methods.

    Raises
    ------
    FormatError
        If a line is none, a problem was tried twice by one arm, or the lines are of several models, or those of an arm
        of several ways to sample: then it would be no single thing that is judged.
    """
    log: dict[Arm, dict[str, Trial]] = {}
    origins: dict[Arm | None, Any] = {}
    for file in files:
        for place, line in numbered_lines(file.read_text("utf-8")):
            try:
                value = json.loads(line)
                arm = Arm.of(value["method"], value["trace"]["parameters"])
                if not isinstance(value["correct"], bool):
                    raise TypeError(f"correct must be true or false, got {value['correct']!r:.60}")
                trial = Trial(value["correct"], int(value["cost"]["tokens"]), dict(value["votes"]))
                name = str(value["id"])
                values = {None: ("model", value.get("model")), arm: ("sampling", value["trace"].get("sampling"))}
            except (ValueError, KeyError, TypeError) as error:
                raise FormatError(f"{file}: line {place} is no graded result ({error!r})") from error
            for whose, origin in values.items():
                if origins.setdefault(whose, origin) != origin:
                    raise FormatError(
                        f"{file}: line {place} is of the {origin[0]} {origin[1]!r:.100}; "
                        f"before it was {origins[whose][1]!r:.100}: logs of one table must be alike in this"
                    )
            if name in log.setdefault(arm, {}):
                raise FormatError(f"{file}: line {place} tries {name} by {arm.method} {arm.parameters} once more")
            log[arm][name] = trial
    return log


def agreement(votes: Mapping[str, float], samples: int) -> float:
    """Return the share of all samples that give the most frequent answer."""
    return max(votes.values(), default=0) / samples


def pilot_arm(samples: int) -> Arm:
    """Return the arm that is nothing but the first samples and their vote."""
    return Arm.of("self_consistency", {"n": samples})


@dataclass(frozen=True)
class Policy:
    """The choice of an arm by the agreement of a pilot's answers.

    Attributes
    ----------
    pilot : int
        Samples that are drawn first; 0 if the arm is always the same.
    edges : tuple of float
        Where one class of agreement ends and the next begins.
    arms : tuple of Arm
        One for each class, one more than edges.
    """

    pilot: int
    edges: tuple[float, ...]
    arms: tuple[Arm, ...]

    def choose(self, share: float) -> Arm:
        """Return the arm for an agreement."""
        return self.arms[bisect_right(self.edges, share)]

    def write(self, file: Path) -> None:
        """Keep it as JSON."""
        arms = [[arm.method, arm.settings] for arm in self.arms]
        value = {"pilot": self.pilot, "edges": self.edges, "arms": arms}
        write_whole(file, json.dumps(value, indent=1) + "\n")

    @classmethod
    def parse(cls, text: str, file: str) -> Policy:
        """Read the text of a file that `write` wrote.

        Raises
        ------
        FormatError
            If it is none.
        """
        try:
            value = json.loads(text)
            arms = tuple([Arm.of(name, parameters) for name, parameters in value["arms"]])
            policy = cls(int(value["pilot"]), tuple(map(float, value["edges"])), arms)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{file} is no table of methods ({error!r})") from error
        if not 0 <= policy.pilot <= MOST_PILOT:
            raise FormatError(f"{file} has a pilot of {policy.pilot} samples; expected 0 to {MOST_PILOT:,}")
        if len(policy.arms) != len(policy.edges) + 1:
            raise FormatError(f"{file} has {len(policy.arms)} methods for {len(policy.edges) + 1} classes")
        return policy


def split(problems: Iterable[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Halve problems by a hash of their names: to learn from, and held out."""
    halves: tuple[list[str], list[str]] = [], []
    for problem in problems:
        halves[branch_key(seed, ("split", problem)) >> 63].append(problem)
    return halves


def common(log: Log) -> list[str]:
    """Return the problems that all arms have tried, in the first one's order."""
    first = next(iter(log.values()), {})
    return [problem for problem in first if all(problem in trials for trials in log.values())]


def applied(policy: Policy, log: Log, problem: str) -> tuple[bool, int]:
    """Return whether a policy answers a problem right, and its tokens, the pilot's included."""
    if not policy.pilot:
        trial = log[policy.arms[0]][problem]
        return trial.correct, trial.tokens
    pilot = pilot_arm(policy.pilot)
    first = log[pilot][problem]
    arm = policy.choose(agreement(first.votes, policy.pilot))
    if arm == pilot:
        return first.correct, first.tokens
    then = log[arm][problem]
    return then.correct, first.tokens + then.tokens


class PolicyOutcome(NamedTuple):
    """Accuracy and mean tokens over problems."""

    accuracy: float
    tokens: float


def outcome(policy: Policy, log: Log, problems: Sequence[str]) -> PolicyOutcome:
    """Return the accuracy and the tokens of a policy."""
    return _mean([applied(policy, log, problem) for problem in problems])


def _mean(values: Sequence[tuple[bool, int]]) -> PolicyOutcome:
    return PolicyOutcome(
        sum(right for right, _ in values) / len(values), sum(tokens for _, tokens in values) / len(values)
    )


def fixed(arm: Arm) -> Policy:
    """Return the policy of one arm for all."""
    return Policy(0, (), (arm,))


def best(policies: Iterable[Policy], log: Log, problems: Sequence[str], tokens: float) -> Policy | None:
    """Return the most accurate policy of no more tokens on average; of equals that of fewer tokens, then the first."""
    affordable = [(policy, outcome(policy, log, problems)) for policy in policies]
    affordable = [(policy, found) for policy, found in affordable if found.tokens <= tokens]
    return max(affordable, key=lambda pair: (pair[1].accuracy, -pair[1].tokens), default=(None,))[0]


def learn(
    log: Log, problems: Sequence[str], *, tokens: float = math.inf, pilot: int = 4, edges: Sequence[float] = EDGES
) -> Policy:
    """Return the best policy on these problems: all assignments of arms to classes, and each arm for all, are tried.

    Raises
    ------
    ParameterError
        If there is no problem, the pilot is not in the log, or nothing can be afforded.
    """
    if pilot_arm(pilot) not in log or not problems:
        raise ParameterError(
            f"a log of self_consistency with n={pilot}, and problems that all methods tried, are needed"
        )
    assignments = itertools.product(log, repeat=len(edges) + 1)
    policies = [*map(fixed, log), *[Policy(pilot, tuple(edges), arms) for arms in assignments]]
    found = best(policies, log, problems, tokens)
    if found is None:
        raise ParameterError(f"no method in the log takes {tokens:g} tokens or fewer on average")
    return found


class PolicyReport(NamedTuple):
    """A policy on problems that it was not learnt from.

    Attributes
    ----------
    policy, fixed : PolicyOutcome
        The policy's, and that of the best fixed arm, chosen in hindsight on these very problems.
    arm : Arm
        That arm.
    regret : float
        How much more accurate it is; below 0 where the policy is better.
    error : float
        The standard error of the regret, from differences problem by problem.
    """

    policy: PolicyOutcome
    fixed: PolicyOutcome
    arm: Arm
    regret: float
    error: float


def judge(policy: Policy, log: Log, problems: Sequence[str], *, tokens: float = math.inf) -> PolicyReport:
    """Compare a policy with the best fixed arm that takes as few tokens.

    Raises
    ------
    ParameterError
        If there is no problem, or no arm is cheap enough.
    """
    return _compare(lambda name: policy, log, problems, tokens)


def cross_validate(
    log: Log,
    problems: Sequence[str],
    *,
    folds: int = 5,
    tokens: float = math.inf,
    pilot: int = 4,
    edges: Sequence[float] = EDGES,
    seed: int = 0,
) -> PolicyReport:
    """Learn on all folds but one and judge on that one, for each: every problem is held out once.

    Half a log is little to learn from; this leaves out a fifth at a time. The rival is the best fixed arm on all
    problems, in hindsight, as `judge` has it.

    Raises
    ------
    ParameterError
        As for `learn`; or if there are fewer than two folds, or one is left without problems to learn from.
    """
    if folds < 2:
        raise ParameterError(f"there must be at least two folds, got {folds}")
    fold = {problem: branch_key(seed, ("fold", problem)) % folds for problem in problems}
    policies = {
        out: learn(log, [name for name in problems if fold[name] != out], tokens=tokens, pilot=pilot, edges=edges)
        for out in set(fold.values())
    }
    return _compare(lambda name: policies[fold[name]], log, problems, tokens)


def _compare(policy: Callable[[str], Policy], log: Log, problems: Sequence[str], tokens: float) -> PolicyReport:
    """Compare the policy of each problem with the best fixed arm."""
    rival = best(map(fixed, log), log, problems, tokens) if problems else None
    if rival is None:
        raise ParameterError("there is no problem to judge by, or no method cheap enough")
    values = [applied(policy(name), log, name) for name in problems]
    gaps = [applied(rival, log, name)[0] - right for name, (right, _) in zip(problems, values, strict=True)]
    count, whole = len(gaps), sum(gaps)
    squares = count * sum(gap * gap for gap in gaps) - whole * whole
    error = root(Fraction(squares, count * count * max(1, count - 1)))
    return PolicyReport(_mean(values), outcome(rival, log, problems), rival.arms[0], whole / count, error=float(error))
