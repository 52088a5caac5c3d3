"""Properties of every method, checked on the toy model: `intact check`, and the tests of this package.

Each check is a function of a `ToyTrial` that raises `CheckError` where the property does not hold. Its docstring says
the property.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple

from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.reason.limits import one_of
from intact.reason.parts.composing import composition_pattern
from intact.reason.problem import Problem, Result, State
from intact.reason.registry import Method
from intact.reason.requests import RunProgram
from intact.reason.testing.laws import METHOD_LAWS, LawError, MethodLaw
from intact.reason.testing.small import SMALL
from intact.reason.testing.toy import WEIGHTS, ListeningBackend, MarkovBackend
from intact.reason.tool import ToolResult, ToolUse
from intact.tools.sandbox import Outcome

PROBLEMS: Final = 5
MOST_TOKENS: Final = 2_000
"""A method that writes more for a problem of the toy model, with texts of 12 tokens, is taken not to end."""
SAMPLING: Final = {"max_tokens": 12, "temperature": 1.0}
LARGE: Final = "large"
"""The name of the second toy model, which stands for whatever other model a method takes."""
CAPS: Final = ("tokens", "scores", "prefill", "runs")
CONVERSATION: Final[tuple[tuple[str, str], ...]] = (
    ("system", "be brief"),
    ("user", "ask 1 and 2?"),
    ("assistant", "ab."),
    ("user", "ask 3 and 4?"),
)
"""A problem with turns before its question."""
HASH_SEEDS: Final = ("0", "12345")
"""Of the processes that run a method again: a set of two words falls in the same order under half of all seeds."""


class CheckError(AssertionError):
    """A property does not hold."""


class Anywhere(dict[str, Any]):
    """The toy's weights, with those of the beginning behind whatever a method appends."""

    def __missing__(self, letter: str) -> Any:
        """Return the weights of the beginning."""
        return self[""]


class LetterScorer:
    """A reward in (0, 1) for each text: the better, the later its letters stand in "abc."."""

    name, digest = "letters", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the rewards."""
        return [(1 + sum("abc.".find(letter) for letter in s.text)) / (4 + 4 * len(s.text)) for s in states]


class IdleServices(Services):
    """Services whose programs end at once, without any output."""

    def run(self, request: RunProgram, stop: Event) -> Outcome:
        """Return the end of a program that has not run."""
        return Outcome("", "", 0, "ok", seconds=0.0)

    def use(self, call: ToolUse, stop: Event) -> ToolResult:
        """Use a tool, if it runs no programs."""
        return ToolResult("", "ok") if "programs" in call.tool.uses else super().use(call, stop)


class Stopped(Exception):  # noqa: N818
    """Raised in the middle of a run, in place of a kill."""


@dataclass
class ToyTrial:
    """A method with its parameters, and how it is run on the toy model.

    Attributes
    ----------
    label : str
        The method as `find` takes it, for a run in another process.
    made : int
        Tokens that the toy models wrote in the last run.
    seconds : float
        The most that one run takes.
    kind : type
        The toy models' class.
    services : callable
        Makes the services of a run; it is given the maker of scorers.
    """

    method: Method
    label: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    made: int = 0
    seconds: float = 120.0
    kind: type[MarkovBackend] = MarkovBackend
    services: Callable[[Callable[[str], LetterScorer]], Services] = Services

    @cached_property
    def usual(self) -> tuple[dict[str, dict[str, Any]], int]:
        """The results of the usual problems, run without any setting, and the tokens that were written."""
        return self.run(problems()), self.made

    @classmethod
    def of(cls, method: Method, label: str, given: Mapping[str, Any] | None = None) -> ToyTrial:
        """Return a trial with parameters for which there is little to do, but for those given."""
        little = SMALL | {"delimiter": ".", "end": ".", "vocabulary": 5}
        values = {one.name: little[one.name] for one in method.parameters if one.name in little}
        values |= {one.name: LetterScorer.name for one in method.parameters if one.names == "scorer"}
        values |= {
            one.name: LARGE for one in method.parameters if one.names == "model" and one.default not in ("", LARGE)
        }
        return cls(method, label, values | dict(given or {}))

    def run(
        self,
        problems: Sequence[Problem],
        *,
        timing: int | None = None,
        journal: Journal | None = None,
        stop_at: int | None = None,
        **caps: int,
    ) -> dict[str, dict[str, Any]]:
        """Solve problems and return what is the same in every run of them, by their ids.

        Parameters
        ----------
        timing : int, optional
            Seed of the order in which texts are written.
        stop_at : int, optional
            Raise `Stopped` when so many tokens are written.
        **caps
            Of `Budget`.
        """
        found = self.results(problems, timing=timing, journal=journal, stop_at=stop_at, **caps)
        return {result.id: comparable(result) for result in found}

    def results(
        self,
        problems: Sequence[Problem],
        *,
        timing: int | None = None,
        journal: Journal | None = None,
        stop_at: int | None = None,
        **caps: int,
    ) -> list[Result]:
        """Solve problems and return their results in the order in which they end (`run`)."""
        backends = {model: self.kind(Anywhere(WEIGHTS), timing) for model in ("toy", LARGE)}

        def watch(tokens: int) -> None:
            if stop_at is not None and tokens >= stop_at:
                raise Stopped

        budget = Budget(**{"tokens": MOST_TOKENS} | caps)
        driver = Driver(
            backends, services=self.services(lambda _: LetterScorer()), sampling=SAMPLING, budget=budget,
            journal=journal, seconds=self.seconds, progress=watch,
        )  # fmt: skip
        try:
            found = [r for _, r in driver.solve([MethodJob(self.method, p, self.parameters) for p in problems])]
        finally:
            self.made = sum(backend.made for backend in backends.values())
        for result in found:
            if result.why not in ("done", "spent"):
                raise CheckError(f"{result.id} ended with {result.why!r}: {result.error}")
            if journal is None and result.cost.tokens != tokens_of(result.trace["nodes"]):
                raise CheckError(f"{result.id} was charged {result.cost.tokens} tokens, other than its trace has")
        if journal is None and (charged := sum(result.cost.tokens for result in found)) != self.made:
            raise CheckError(f"{charged} tokens were charged, {self.made} were written")
        return found


def problems(count: int = PROBLEMS) -> list[Problem]:
    """Return problems whose answer is the first two letters of a text."""
    return [Problem(f"p{i}", "ask 3 and 4?", lambda text: text.strip("`python\n")[:2] or None) for i in range(count)]


def tokens_of(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return the tokens in a trace."""
    return sum(node.get("tokens", 0) + tokens_of(node.get("nodes", [])) for node in nodes)


def longest_text(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return the most tokens of a text in a trace, from its beginning, without what scorers have written."""
    lengths, called, ended = dict[str, int](), list[int](), set[str]()
    for node in nodes:
        if node["kind"] == "extend":
            before = 0 if node.get("other_prompt") else lengths.get(node["parent"], 0)
            if before and node.get("appended") and node["parent"] in ended:
                before -= 1  # its end token was taken away
            lengths[node["branch"]] = before + node["tokens"] - (node["why"] == "uncertain")
            ended.update([node["branch"]] if node["why"] == "end" else [])
        elif node["kind"] == "call" and "method" in node:
            called.append(longest_text(node["nodes"]))
    return max([*lengths.values(), *called], default=0)


def comparable(result: Result) -> dict[str, Any]:
    """Return all of a result but the seconds, as JSON has it."""
    value = result.as_dict(trace=True)
    value["cost"].pop("seconds")
    return dict(json.loads(json.dumps(value)))


def ends(trial: ToyTrial) -> None:
    """Every problem comes to its end, without an error, and one of them at least to an answer."""
    found, _ = trial.usual
    for name, value in found.items():
        if value["why"] != "done":
            raise CheckError(f"{name} was not done after {MOST_TOKENS:,} tokens; expected an end of its own")
    if "programs" not in trial.method.uses and not any(value["answer"] for value in found.values()):
        raise CheckError(f"none of {PROBLEMS} problems has an answer")


def ignores_company(trial: ToyTrial) -> None:
    """A result does not depend on the problems that run beside it, their order, or which text is written first."""
    together, _ = trial.usual
    fewer = problems()[1:4]
    random.Random(1).shuffle(fewer)
    _same(trial.run(fewer, timing=1), {one.id: together[one.id] for one in fewer}, "beside others")


def keeps_caps(trial: ToyTrial) -> None:
    """No cap is exceeded, not by one; with too little a method says that it was spent, with enough nothing changes."""
    one = problems(1)
    (free,) = trial.run(one).values()
    for cap in CAPS:
        most = free["cost"][cap]
        for value in sorted({0, 1, most // 3, most - 1, most} - {-1}):
            (found,) = trial.run(one, timing=value, **{cap: value}).values()
            if found["cost"][cap] > value:
                raise CheckError(f"with at most {value} {cap} it took {found['cost'][cap]}")
            if value < most and found["why"] != "spent":
                raise CheckError(f"with {value} of {most} {cap} it ended as {found['why']!r}; expected 'spent'")
            if value >= most and found["cost"] != free["cost"]:
                raise CheckError(
                    f"with {value} {cap}, which is enough, it cost {found['cost']} instead of {free['cost']}"
                )
    for value in (1, 5):
        (found,) = trial.run(one, text=value).values()
        longest = longest_text(found["trace"]["nodes"])
        if longest > value:
            raise CheckError(f"with at most {value} tokens a text one has {longest}")


def resumes(trial: ToyTrial) -> None:
    """A run that was stopped goes on from its journal to the same result; nothing that is kept is written again."""
    expected, whole = trial.usual
    with tempfile.TemporaryDirectory() as folder:
        for part in (whole // 3, 2 * whole // 3):
            path = Path(folder) / f"{part}.sqlite"
            try:
                with Journal(path) as journal:
                    trial.run(problems(), journal=journal, stop_at=part)
            except Stopped:
                pass
            with Journal(path) as journal:
                _same(trial.run(problems(), timing=2, journal=journal), expected, f"stopped after {part} tokens")
        with Journal(path) as journal:
            _same(trial.run(problems(), journal=journal), expected, "from a whole journal")
            if trial.made:
                raise CheckError(f"{trial.made} tokens were written although the journal had all")


def reads_every_turn(trial: ToyTrial) -> None:
    """Another system message, earlier turn or question gives other texts; or a conversation is refused before work."""
    listening = replace(trial, kind=ListeningBackend, services=IdleServices)
    conversation = CONVERSATION
    expected = _texts_and_verdict(listening, conversation)
    if expected is None:
        conversation = CONVERSATION[-1:]
        expected = _texts_and_verdict(listening, conversation)
    turns = list(range(len(conversation)))
    if "statement" in trial.parameters:
        turns.pop()  # it stands in the place of the question
    for turn in turns:
        role, content = conversation[turn]
        changed = (*conversation[:turn], (role, f"{content} and more"), *conversation[turn + 1 :])
        if _texts_and_verdict(listening, changed) == expected:
            raise CheckError(
                f"turn {turn + 1} of {len(conversation)}, of the role {role}, changes nothing; "
                "expected prompts that hold the whole conversation (intact.reason.parts.prompting.make_prompt)"
            )


def _texts_and_verdict(trial: ToyTrial, conversation: tuple[tuple[str, str], ...]) -> Any:
    """Return the texts and the verdict on a conversation; None if it is refused before anything is written."""
    problem = replace(problems(1)[0], prompt=conversation)
    try:
        (found,) = trial.run([problem]).values()
    except CheckError as error:
        if "ParameterError" in str(error) and not trial.made:
            return None
        raise
    return found["answer"], found["votes"], _texts(found["trace"]["nodes"])


def _texts(nodes: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [node.get("text") or _texts(node.get("nodes", [])) for node in nodes]


def replays(trial: ToyTrial) -> None:
    """Runs in other processes, under two hash seeds, give the same bytes."""
    expected, _ = trial.usual
    words = [sys.executable, "-c", "from intact.reason.testing.checks import main; main()", trial.label]
    words += [json.dumps(dict(trial.parameters)), str(trial.seconds)]
    path = os.pathsep.join(filter(None, sys.path))
    for seed in HASH_SEEDS:
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        try:
            ran = subprocess.run(
                words, env=environment, capture_output=True, text=True, timeout=trial.seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise CheckError(f"another process did not end within {trial.seconds:g} s") from None
        if ran.returncode:
            raise CheckError(f"the other process failed: {ran.stderr.strip().rpartition(chr(10))[2]:.300}")
        _same(json.loads(ran.stdout), expected, f"in another process, under hash seed {seed}")


def applies_its_composition(trial: ToyTrial) -> None:
    """The transformers that a run applies are those of the method's declared composition, in its order."""
    pattern = composition_pattern(trial.method.composition)
    for result in trial.results(problems()):
        population = result.answer.population
        if population is None:
            raise CheckError(f"{result.id} was not decided by a decision of intact.reason.parts.composing")
        if not pattern.fullmatch("".join(f"{law.name}," for law in population.history)):
            raise CheckError(f"{result.id} applied {population.composition}; declared is {trial.method.composition}")


class Check(NamedTuple):
    """A property by its name."""

    name: str
    function: Callable[[ToyTrial], None]
    words: str = ""

    @property
    def meaning(self) -> str:
        """Return the property in words."""
        return " ".join((self.words or self.function.__doc__ or "").split())


CHECKS: Final = tuple(
    Check(function.__name__.replace("_", " "), function)
    for function in (ends, ignores_company, keeps_caps, reads_every_turn, resumes, replays)
)
"""The checks of every method, in the order in which they are made."""


def checks_of(method: Method) -> list[Check]:
    """Return the checks of a method: those of every method, and of a composition its own and its declared laws.

    Raises
    ------
    ParameterError
        If there is no law of a declared name.
    """
    one_of(METHOD_LAWS, **{f"a law of {method.name}": law for law in method.laws})
    own = [Check("applies its composition", applies_its_composition)] if method.composition else []
    laws = [(name, METHOD_LAWS[name]) for name in method.laws]
    return [*CHECKS, *own, *(Check(f"law {name}", partial(_obey, law), law.__doc__ or "") for name, law in laws)]


def _obey(law: MethodLaw, trial: ToyTrial) -> None:
    """Check a law; of a method that cannot be enumerated, such as one that computes with keys, it does not hold."""
    try:
        law(trial.method, trial.parameters)
    except LawError:
        raise
    except Exception as error:  # whatever a user's method raises
        raise CheckError(f"its outcomes cannot be enumerated: {type(error).__name__}: {error}") from error


class CheckResult(NamedTuple):
    """If `holds` is true, the property does; else `why` says what is wrong."""

    check: str
    meaning: str
    holds: bool
    why: str = ""


def check_method(trial: ToyTrial) -> Iterator[CheckResult]:
    """Make all checks of a method; yield a result after each.

    An error that the method raises is a result too. Where the first check fails, that the method ends, no other is
    made; after that each says something of its own.

    Raises
    ------
    ParameterError
        If the method declares a law that there is not.
    """
    for check in checks_of(trial.method):
        try:
            check.function(trial)
        except (CheckError, LawError) as error:
            yield CheckResult(check.name, check.meaning, False, str(error))
            if check is CHECKS[0]:
                return
        else:
            yield CheckResult(check.name, check.meaning, True)


def main() -> None:
    """Print the results of a method, named with its parameters in the command's arguments, as JSON."""
    from intact.reason.registry import find

    label, parameters, seconds = sys.argv[1:]
    trial = ToyTrial(find(label), label, json.loads(parameters), seconds=float(seconds))
    print(json.dumps(trial.run(problems())))


def _same(found: Mapping[str, Any], expected: Mapping[str, Any], when: str) -> None:
    """Raise unless results are equal, naming the first that is not."""
    for name, value in expected.items():
        if found.get(name) != value:
            what = next((key for key in value if found.get(name, {}).get(key) != value[key]), "result")
            raise CheckError(f"{name} has another {what} {when}")
