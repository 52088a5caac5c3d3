"""Properties of every method, checked on the toy model: used by `intact check` and by this package's tests.

Each check is a function of a `ToyTrial` that raises `CheckError` if the property does not hold. Its docstring states
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
"""Token limit per problem, with completions of 12 tokens; a method that generates more is assumed not to terminate."""
SAMPLING: Final = {"max_tokens": 12, "temperature": 1.0}
LARGE: Final = "large"
"""Name of the second toy model, used for any additional model that a method takes."""
CAPS: Final = ("tokens", "scores", "prefill", "runs")
CONVERSATION: Final[tuple[tuple[str, str], ...]] = (
    ("system", "be brief"),
    ("user", "ask 1 and 2?"),
    ("assistant", "ab."),
    ("user", "ask 3 and 4?"),
)
"""A conversation with turns before the question."""
HASH_SEEDS: Final = ("0", "12345")
"""Hash seeds of the processes that rerun a method; under half of all seeds, a set of two strings has the same order."""


class CheckError(AssertionError):
    """Raised when a property does not hold."""


class Anywhere(dict[str, Any]):
    """The toy model's weights; after any appended text, the initial weights apply."""

    def __missing__(self, letter: str) -> Any:
        """Return the initial weights."""
        return self[""]


class LetterScorer:
    """A scorer that gives each text a reward in (0, 1): higher for letters later in "abc."."""

    name, digest = "letters", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        """Return the rewards."""
        return [(1 + sum("abc.".find(letter) for letter in s.text)) / (4 + 4 * len(s.text)) for s in states]


class IdleServices(Services):
    """Services whose programs end immediately without output."""

    def run(self, request: RunProgram, stop: Event) -> Outcome:
        """Return the outcome of a program without running it."""
        return Outcome("", "", 0, "ok", seconds=0.0)

    def use(self, call: ToolUse, stop: Event) -> ToolResult:
        """Call a tool unless it runs programs."""
        return ToolResult("", "ok") if "programs" in call.tool.uses else super().use(call, stop)


class Stopped(Exception):  # noqa: N818
    """Raised in the middle of a run to simulate a kill."""


@dataclass
class ToyTrial:
    """A method with its parameters and its settings on the toy model.

    Attributes
    ----------
    label : str
        Name of the method as accepted by `find`, for a run in another process.
    made : int
        Number of tokens that the toy models generated in the last run.
    seconds : float
        Time limit per run.
    kind : type
        Class of the toy models.
    services : callable
        Makes the services of a run, given the scorer factory.
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
        """The results of the usual problems, run with default settings, and the number of generated tokens."""
        return self.run(problems()), self.made

    @classmethod
    def of(cls, method: Method, label: str, given: Mapping[str, Any] | None = None) -> ToyTrial:
        """Return a trial with small parameters except for the given ones."""
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
        """Solve problems and return the reproducible part of the results, by id.

        Parameters
        ----------
        timing : int, optional
            Seed of the order in which completions are generated.
        stop_at : int, optional
            Number of generated tokens at which `Stopped` is raised.
        **caps
            Fields of `Budget`.
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
        """Solve problems and return their results in the order in which they finish (see `run`)."""
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
                raise CheckError(
                    f"{result.id} was charged {result.cost.tokens} tokens, but its trace has another number"
                )
        if journal is None and (charged := sum(result.cost.tokens for result in found)) != self.made:
            raise CheckError(f"{charged} tokens were charged, but {self.made} were written")
        return found


def problems(count: int = PROBLEMS) -> list[Problem]:
    """Return problems whose answer is the first two letters of a completion."""
    return [Problem(f"p{i}", "ask 3 and 4?", lambda text: text.strip("`python\n")[:2] or None) for i in range(count)]


def tokens_of(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of tokens in a trace."""
    return sum(node.get("tokens", 0) + tokens_of(node.get("nodes", [])) for node in nodes)


def longest_text(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return the token count of the longest completion in a trace, from its beginning, ignoring scorers' text."""
    lengths, called, ended = dict[str, int](), list[int](), set[str]()
    for node in nodes:
        if node["kind"] == "extend":
            before = 0 if node.get("other_prompt") else lengths.get(node["parent"], 0)
            if before and node.get("appended") and node["parent"] in ended:
                before -= 1  # its end token was removed
            lengths[node["branch"]] = before + node["tokens"] - (node["why"] == "uncertain")
            ended.update([node["branch"]] if node["why"] == "end" else [])
        elif node["kind"] == "call" and "method" in node:
            called.append(longest_text(node["nodes"]))
    return max([*lengths.values(), *called], default=0)


def comparable(result: Result) -> dict[str, Any]:
    """Return a result as JSON values, without its seconds."""
    value = result.as_dict(trace=True)
    value["cost"].pop("seconds")
    return dict(json.loads(json.dumps(value)))


def ends(trial: ToyTrial) -> None:
    """Every problem ends without an error, and at least one of them with an answer."""
    found, _ = trial.usual
    for name, value in found.items():
        if value["why"] != "done":
            raise CheckError(f"{name} was not done after {MOST_TOKENS:,} tokens; expected the method to end on its own")
    if "programs" not in trial.method.uses and not any(value["answer"] for value in found.values()):
        raise CheckError(f"none of {PROBLEMS} problems has an answer")


def ignores_company(trial: ToyTrial) -> None:
    """A result does not depend on other problems in the run, their order, or the order in which texts are written."""
    together, _ = trial.usual
    fewer = problems()[1:4]
    random.Random(1).shuffle(fewer)
    _same(trial.run(fewer, timing=1), {one.id: together[one.id] for one in fewer}, "beside others")


def keeps_caps(trial: ToyTrial) -> None:
    """No cap is exceeded; with too little budget the method ends as spent, and with enough the result is unchanged."""
    one = problems(1)
    (free,) = trial.run(one).values()
    for cap in CAPS:
        most = free["cost"][cap]
        for value in sorted({0, 1, most // 3, most - 1, most} - {-1}):
            (found,) = trial.run(one, timing=value, **{cap: value}).values()
            if found["cost"][cap] > value:
                raise CheckError(f"with at most {value} {cap} it used {found['cost'][cap]}")
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
            raise CheckError(f"with at most {value} tokens per text, a text has {longest}")


def resumes(trial: ToyTrial) -> None:
    """A stopped run resumes from its journal to the same result, and recorded results are not computed again."""
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
                raise CheckError(f"{trial.made} tokens were written although the journal had all of them")


def reads_every_turn(trial: ToyTrial) -> None:
    """Another system message, earlier turn or question gives other texts, or the conversation is rejected at once."""
    listening = replace(trial, kind=ListeningBackend, services=IdleServices)
    conversation = CONVERSATION
    expected = _texts_and_verdict(listening, conversation)
    if expected is None:
        conversation = CONVERSATION[-1:]
        expected = _texts_and_verdict(listening, conversation)
    turns = list(range(len(conversation)))
    if "statement" in trial.parameters:
        turns.pop()  # it replaces the question
    for turn in turns:
        role, content = conversation[turn]
        changed = (*conversation[:turn], (role, f"{content} and more"), *conversation[turn + 1 :])
        if _texts_and_verdict(listening, changed) == expected:
            raise CheckError(
                f"changing turn {turn + 1} of {len(conversation)}, of the role {role}, has no effect; "
                "expected prompts that contain the whole conversation (intact.reason.parts.prompting.make_prompt)"
            )


def _texts_and_verdict(trial: ToyTrial, conversation: tuple[tuple[str, str], ...]) -> Any:
    """Return the completions and the verdict for a conversation; None if it is rejected before generation starts."""
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
    """The transformers applied in a run match the method's declared composition, in order."""
    pattern = composition_pattern(trial.method.composition)
    for result in trial.results(problems()):
        population = result.answer.population
        if population is None:
            raise CheckError(f"{result.id} was not decided by a decision function of intact.reason.parts.composing")
        if not pattern.fullmatch("".join(f"{law.name}," for law in population.history)):
            raise CheckError(
                f"{result.id} applied {population.composition}, but {trial.method.composition} is declared"
            )


class Check(NamedTuple):
    """A named property."""

    name: str
    function: Callable[[ToyTrial], None]
    words: str = ""

    @property
    def meaning(self) -> str:
        """The property in words."""
        return " ".join((self.words or self.function.__doc__ or "").split())


CHECKS: Final = tuple(
    Check(function.__name__.replace("_", " "), function)
    for function in (ends, ignores_company, keeps_caps, reads_every_turn, resumes, replays)
)
"""The checks applied to every method, in the order in which they run."""


def checks_of(method: Method) -> list[Check]:
    """Return the checks of a method: the common ones and, for a composition, its own check and its declared laws.

    Raises
    ------
    ParameterError
        If a declared law is unknown.
    """
    one_of(METHOD_LAWS, **{f"a law of {method.name}": law for law in method.laws})
    own = [Check("applies its composition", applies_its_composition)] if method.composition else []
    laws = [(name, METHOD_LAWS[name]) for name in method.laws]
    return [*CHECKS, *own, *(Check(f"law {name}", partial(_obey, law), law.__doc__ or "") for name, law in laws)]


def _obey(law: MethodLaw, trial: ToyTrial) -> None:
    """Check a law; the check fails for a method that cannot be enumerated, such as one that computes with keys."""
    try:
        law(trial.method, trial.parameters)
    except LawError:
        raise
    except Exception as error:  # a user's method may raise anything
        raise CheckError(f"its outcomes cannot be enumerated: {type(error).__name__}: {error}") from error


class CheckResult(NamedTuple):
    """The result of a check; if `holds` is false, `why` says what is wrong."""

    check: str
    meaning: str
    holds: bool
    why: str = ""


def check_method(trial: ToyTrial) -> Iterator[CheckResult]:
    """Run all checks of a method; yield a result after each.

    An error raised by the method is also a result. If the first check, which tests that the method ends, fails, the
    others are skipped; the later checks are independent of each other.

    Raises
    ------
    ParameterError
        If the method declares an unknown law.
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
    """Print the results of the method named in the command-line arguments, with its parameters, as JSON."""
    from intact.reason.registry import find

    label, parameters, seconds = sys.argv[1:]
    trial = ToyTrial(find(label), label, json.loads(parameters), seconds=float(seconds))
    print(json.dumps(trial.run(problems())))


def _same(found: Mapping[str, Any], expected: Mapping[str, Any], when: str) -> None:
    """Raise CheckError unless results are equal, naming the first difference."""
    for name, value in expected.items():
        if found.get(name) != value:
            what = next((key for key in value if found.get(name, {}).get(key) != value[key]), "result")
            raise CheckError(f"{name} has a different {what} {when}")
