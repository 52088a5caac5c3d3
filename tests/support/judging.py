"""Methods that ask models about texts: how tests enumerate their laws, and drive them by scripted replies."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from intact.reason import Answer, Extend, Piece, Problem, State, Steps, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.testing.enumeration import Oracle, Player, law
from intact.reason.testing.toy import MarkovBackend
from support.script import Reply, ScriptBackend

PROBLEM = Problem("p", "ask", read=lambda text: text[:1] if text[:1] != "c" else None)
FIRST = {"a": Fraction(4, 8), "b": Fraction(3, 8), None: Fraction(1, 8)}
LETTERS = [("a", FIRST["a"]), ("b", FIRST["b"]), ("c", FIRST[None])]
REWARDS = {"a": 0.25, "b": 0.5, "c": 0.75}


class Reward:
    """Likes b best of what is an answer."""

    name, digest = "reward", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [REWARDS[state.text[0]] for state in states]


class JudgingPlayer(Player):
    """Texts that answer the problem are drawn by an oracle; other prompts get the reply of a function."""

    def __init__(self, oracle: Oracle, longest: int, judge: Callable[[str], str]) -> None:
        super().__init__(MarkovBackend(), oracle, longest, Reward())
        self.judge, self.prompts = judge, list[str]()

    def _extend(self, request: Extend) -> State:
        state = request.state
        if state.prompt == PROBLEM.prompt:
            return super()._extend(request)
        assert isinstance(state.prompt, str)
        self.prompts.append(state.prompt)
        reply = self.judge(state.prompt + state.text)
        return State(state.prompt, (*state.branch, 0), (*state.pieces, Piece(reply, (1,), (0,), model="")), "end")


def silence(prompt: str) -> str:
    raise AssertionError(prompt)


def played(name: str, oracle: Oracle, longest: int = 1, judge: Callable[[str], str] = silence, **values: Any) -> Answer:
    return JudgingPlayer(oracle, longest, judge).play(find(name)(PROBLEM, **values), PROBLEM)


def law_of_answers(name: str, longest: int = 1, judge: Callable[[str], str] = silence, **values: Any) -> dict[Any, Any]:
    return law(lambda oracle: played(name, oracle, longest, judge, **values).answer)


def law_with_draws(name: str, **values: Any) -> dict[Any, Fraction]:
    """The law of answers where each reply to another prompt is drawn as a first text is."""

    def run(oracle: Oracle) -> str | None:
        player = JudgingPlayer(oracle, 1, lambda _: oracle.choose(LETTERS))
        answer: str | None = player.play(find(name)(PROBLEM, **values), PROBLEM).answer
        return answer

    return law(run)


def law_of_votes(n: int, choose: Callable[[list[str | None]], Any]) -> dict[Any, Fraction]:
    """What n independent answers lead to."""
    result: Counter[Any] = Counter()
    for answers in itertools.product(FIRST, repeat=n):
        result[choose(list(answers))] += math.prod((FIRST[a] for a in answers), start=Fraction(1))
    return dict(result)


def majority(answers: list[str | None]) -> str | None:
    known = [answer for answer in answers if answer is not None]
    return max(known, key=lambda a: (known.count(a), -known.index(a)), default=None)


def number(text: str) -> str | None:
    found = re.findall(r"\d+", text)
    return found[-1] if found else None


def solve(name: str, reply: Reply, budget: Budget | None = None, **parameters: Any) -> tuple[Answer, ScriptBackend]:
    backend = ScriptBackend(reply)
    driver = Driver(
        {"main": backend}, budget=budget, sampling={"max_tokens": 400}, services=Services(lambda _: Reward())
    )
    ((_, result),) = driver.solve([MethodJob(find(name), Problem("p", "6 * 7?", number), parameters)])
    assert result.why in ("done", "spent"), result.error
    assert result.cost.tokens == backend.made
    return result.answer, backend


def requests(steps: Steps, serve: Callable[[Any], Any]) -> list[Any]:
    """All that a method asks for, where a function gives it the results."""
    found: list[Any] = []
    try:
        found.append(next(steps))
        while True:
            found.append(steps.send(serve(found[-1])))
    except StopIteration:
        return found
