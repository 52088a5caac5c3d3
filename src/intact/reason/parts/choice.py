"""Choosing a method for a question: learnt from the user's own logs, and evaluated on held-out problems.

A log is the ``answers.jsonl`` that ``intact solve --task ... --journal DIR`` writes for each method, one result per
line. The difficulty of a question is estimated from the first few samples, by the share of the most frequent answer.
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
"""Version of the rules for choosing a method; increase it when they change (`solving/receipts/versions.py`)."""
EDGES = (0.5, 1.0)
"""Agreement at or above which a question counts as medium, and at or above which it counts as easy."""


MOST_PILOT = 1 << 12
"""Maximum number of samples drawn before the choice."""


class Arm(NamedTuple):
    """A method with its parameters as sorted JSON."""

    method: str
    parameters: str = "{}"

    @classmethod
    def of(cls, method: str, parameters: Mapping[str, Any]) -> Arm:
        """Make an arm from a mapping of parameters."""
        return cls(method, json.dumps(dict(parameters), sort_keys=True))

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters as a dict."""
        settings: dict[str, Any] = json.loads(self.parameters)
        return settings


class Trial(NamedTuple):
    """The result of an arm on a problem: correctness, cost and votes."""

    correct: bool
    tokens: int
    votes: Mapping[str, float]


Log: TypeAlias = Mapping[Arm, Mapping[str, Trial]]
"""Trials by problem id, for each arm."""


def read_logs(files: Iterable[Path]) -> dict[Arm, dict[str, Trial]]:
    """Read the graded results of any number of methods.

    Raises
    ------
    FormatError
        If a line is invalid, an arm tried a problem twice, lines come from different models, or lines of one arm come
        from different sampling parameters, because the results would then not be comparable.
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
                raise FormatError(f"{file}: line {place} is not a graded result ({error!r})") from error
            for whose, origin in values.items():
                if origins.setdefault(whose, origin) != origin:
                    raise FormatError(
                        f"{file}: line {place} has the {origin[0]} {origin[1]!r:.100}, but an earlier line has "
                        f"{origins[whose][1]!r:.100}: they must be the same in all logs of a table"
                    )
            if name in log.setdefault(arm, {}):
                raise FormatError(f"{file}: line {place} repeats {name} with {arm.method} {arm.parameters}")
            log[arm][name] = trial
    return log


def agreement(votes: Mapping[str, float], samples: int) -> float:
    """Return the share of all samples that give the most frequent answer."""
    return max(votes.values(), default=0) / samples


def pilot_arm(samples: int) -> Arm:
    """Return the arm that consists of the first samples and their vote."""
    return Arm.of("self_consistency", {"n": samples})


@dataclass(frozen=True)
class Policy:
    """A policy that chooses an arm by the agreement of the pilot's answers.

    Attributes
    ----------
    pilot : int
        Number of pilot samples; 0 if the arm is always the same.
    edges : tuple of float
        Boundaries between classes of agreement.
    arms : tuple of Arm
        One arm per class; there is one more class than edges.
    """

    pilot: int
    edges: tuple[float, ...]
    arms: tuple[Arm, ...]

    def choose(self, share: float) -> Arm:
        """Return the arm for a given agreement."""
        return self.arms[bisect_right(self.edges, share)]

    def write(self, file: Path) -> None:
        """Write the policy to a file as JSON."""
        arms = [[arm.method, arm.settings] for arm in self.arms]
        value = {"pilot": self.pilot, "edges": self.edges, "arms": arms}
        write_whole(file, json.dumps(value, indent=1) + "\n")

    @classmethod
    def parse(cls, text: str, file: str) -> Policy:
        """Parse the contents of a file written by `write`.

        Raises
        ------
        FormatError
            If the contents are invalid.
        """
        try:
            value = json.loads(text)
            arms = tuple([Arm.of(name, parameters) for name, parameters in value["arms"]])
            policy = cls(int(value["pilot"]), tuple(map(float, value["edges"])), arms)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{file} is not a table of methods ({error!r})") from error
        if not 0 <= policy.pilot <= MOST_PILOT:
            raise FormatError(f"{file} has a pilot of {policy.pilot} samples; expected 0 to {MOST_PILOT:,}")
        if len(policy.arms) != len(policy.edges) + 1:
            raise FormatError(f"{file} has {len(policy.arms)} methods for {len(policy.edges) + 1} classes")
        return policy


def split(problems: Iterable[str], seed: int = 0) -> tuple[list[str], list[str]]:
    """Split problems into two halves by a hash of their names: one to learn from, and one held out."""
    halves: tuple[list[str], list[str]] = [], []
    for problem in problems:
        halves[branch_key(seed, ("split", problem)) >> 63].append(problem)
    return halves


def common(log: Log) -> list[str]:
    """Return the problems that all arms have tried, in the order of the first arm."""
    first = next(iter(log.values()), {})
    return [problem for problem in first if all(problem in trials for trials in log.values())]


def applied(policy: Policy, log: Log, problem: str) -> tuple[bool, int]:
    """Return whether a policy answers a problem correctly, and the number of tokens used, including the pilot's."""
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
    """Return the policy that always uses one arm."""
    return Policy(0, (), (arm,))


def best(policies: Iterable[Policy], log: Log, problems: Sequence[str], tokens: float) -> Policy | None:
    """Return the most accurate policy within a mean token limit; ties go to fewer tokens, then to the first."""
    affordable = [(policy, outcome(policy, log, problems)) for policy in policies]
    affordable = [(policy, found) for policy, found in affordable if found.tokens <= tokens]
    return max(affordable, key=lambda pair: (pair[1].accuracy, -pair[1].tokens), default=(None,))[0]


def learn(
    log: Log, problems: Sequence[str], *, tokens: float = math.inf, pilot: int = 4, edges: Sequence[float] = EDGES
) -> Policy:
    """Return the best policy on these problems, among all assignments of arms to classes and all fixed arms.

    Raises
    ------
    ParameterError
        If there are no problems, the pilot is not in the log, or no policy is affordable.
    """
    if pilot_arm(pilot) not in log or not problems:
        raise ParameterError(
            f"learning needs a log of self_consistency with n={pilot}, and problems that every method tried"
        )
    assignments = itertools.product(log, repeat=len(edges) + 1)
    policies = [*map(fixed, log), *[Policy(pilot, tuple(edges), arms) for arms in assignments]]
    found = best(policies, log, problems, tokens)
    if found is None:
        raise ParameterError(f"no method in the log used at most {tokens:g} tokens on average")
    return found


class PolicyReport(NamedTuple):
    """The evaluation of a policy on held-out problems.

    Attributes
    ----------
    policy, fixed : PolicyOutcome
        Outcomes of the policy, and of the best fixed arm, chosen in hindsight on the same problems.
    arm : Arm
        The best fixed arm.
    regret : float
        Accuracy of the fixed arm minus that of the policy; negative if the policy is better.
    error : float
        Standard error of the regret, from per-problem differences.
    """

    policy: PolicyOutcome
    fixed: PolicyOutcome
    arm: Arm
    regret: float
    error: float


def judge(policy: Policy, log: Log, problems: Sequence[str], *, tokens: float = math.inf) -> PolicyReport:
    """Compare a policy with the best fixed arm within the same token limit.

    Raises
    ------
    ParameterError
        If there are no problems, or no arm is cheap enough.
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
    """Cross-validate: for each fold, learn on the others and evaluate on that fold, so every problem is held out once.

    Half a log is little to learn from; this holds out only a fifth at a time. The baseline is the best fixed arm on all
    problems, in hindsight, as in `judge`.

    Raises
    ------
    ParameterError
        As for `learn`; also if there are fewer than two folds, or no problems are left to learn from.
    """
    if folds < 2:
        raise ParameterError(f"folds must be at least 2, got {folds}")
    fold = {problem: branch_key(seed, ("fold", problem)) % folds for problem in problems}
    policies = {
        out: learn(log, [name for name in problems if fold[name] != out], tokens=tokens, pilot=pilot, edges=edges)
        for out in set(fold.values())
    }
    return _compare(lambda name: policies[fold[name]], log, problems, tokens)


def _compare(policy: Callable[[str], Policy], log: Log, problems: Sequence[str], tokens: float) -> PolicyReport:
    """Compare each problem's policy with the best fixed arm."""
    rival = best(map(fixed, log), log, problems, tokens) if problems else None
    if rival is None:
        raise ParameterError("there are no problems to judge by, or no method is cheap enough")
    values = [applied(policy(name), log, name) for name in problems]
    gaps = [applied(rival, log, name)[0] - right for name, (right, _) in zip(problems, values, strict=True)]
    count, whole = len(gaps), sum(gaps)
    squares = count * sum(gap * gap for gap in gaps) - whole * whole
    error = root(Fraction(squares, count * count * max(1, count - 1)))
    return PolicyReport(_mean(values), outcome(rival, log, problems), rival.arms[0], whole / count, error=float(error))
