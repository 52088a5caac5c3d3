"""Reasoning methods behind a model's name: `name:self-consistency-16`, or the request's own field `intact`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from intact import errors
from intact.clock import DEFAULT_NOW
from intact.errors import ParameterError
from intact.library import Model
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.driver import Driver
from intact.reason.problem import Problem, Prompt, Result, path
from intact.reason.registry import Method, Parameter, all_methods
from intact.reason.scorer import Scorer
from intact.reason.services import MethodJob, Services
from intact.run_receipts.record import RecordingBackend, recording_driver
from intact.score.answers import READERS
from intact.score.scorers import find_scorer, scorers
from intact.serve import tracing
from intact.serve.errors import ApiError
from intact.serve.kept import documented
from intact.serve.requests import Extension
from intact.serve.service import Threads, Work

WITHHELD = ("compute_optimal",)
"""Methods that read files of the server."""
MOST = 1024
"""The largest whole number that a method's parameter may be, but for those that count tokens."""
MOST_TOKENS = 1 << 16
"""The most tokens that a method may write, whatever its budget."""
SHOWN = 400
"""Characters at the end of a text that is being written which are told; all of it comes when it is done."""
UNREAD = 64
"""Events that may wait for their reader before it hears no more of what is being written."""
TELLING = 0.2
"""Seconds between two reports of what is being written."""

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Undertaking:
    """A method with all it needs but a model.

    Attributes
    ----------
    receipt : bool
        Whether the result shall have one.
    now : datetime
        The time that a chat template is told which asks for it.
    """

    method: Method
    parameters: Mapping[str, Any]
    budget: Budget
    problem: Problem
    sampling: Mapping[str, Any]
    receipt: bool = False
    now: datetime = DEFAULT_NOW


@cache
def served_methods() -> dict[str, Method]:
    """The methods that clients may ask for."""
    return {name: method for name, method in all_methods().items() if name not in WITHHELD}


@cache
def catalogue() -> list[dict[str, Any]]:
    """The methods as JSON has them: what each does, where it comes from, what it takes."""
    return [
        {
            "name": method.name,
            "line": method.line,
            "paper": method.paper,
            "sampling": dict(method.sampling),
            "parameters": [parameter.as_dict() for parameter in method.parameters],
        }
        for method in served_methods().values()
    ]


@cache
def served_scorers() -> list[str]:
    """The scorers that clients may ask for, by their names alone: an argument could name a file of the server."""
    return [name for name in scorers() if name != "reward"]


def split(model: str) -> tuple[str, str | None, int | None]:
    """A model's name, the method behind its colon, and that method's n."""
    name, colon, suffix = model.rpartition(":")
    found = re.fullmatch(r"([a-z][a-z_-]*?)(?:-(\d{1,6}))?", suffix)
    if not colon or not found or found[1].replace("-", "_") not in served_methods():
        return model, None, None
    return name, found[1].replace("-", "_"), int(found[2]) if found[2] else None


def chosen(own: Extension, method: str, n: int | None) -> tuple[Method, dict[str, Any], Budget]:
    """A method, its parameters and its budget, checked.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    name = method.replace("-", "_")
    if name not in served_methods():
        known = ", ".join(served_methods())
        raise ApiError(400, f"there is no method {method!r:.60}; there are {known}", "intact.method")
    found = served_methods()[name]
    parameters: dict[str, Any] = dict(own.parameters)
    if n is not None or own.n is not None:
        parameters["n"] = own.n if own.n is not None else n
    known_parameters = {parameter.name: parameter for parameter in found.parameters}
    for key, value in parameters.items():
        where = "intact.n" if key == "n" and "n" not in own.parameters else f"intact.parameters.{key:.60}"
        if key not in known_parameters:
            takes = ", ".join(known_parameters) or "no parameters"
            raise ApiError(400, f"{found.name} has no parameter {key!r:.60}; it takes {takes}", where)
        parameters[key] = _value(where, value, known_parameters[key])
        if known_parameters[key].names == "scorer" and value not in served_scorers():
            raise ApiError(400, f"there is no scorer {value!r:.60}; there are {', '.join(served_scorers())}", where)
    try:
        budget = Budget.parse(own.budget or "")
    except ParameterError as error:
        raise ApiError(400, str(error), "intact.budget") from error
    tokens = MOST_TOKENS if budget.tokens is None else min(budget.tokens, MOST_TOKENS)
    return found, parameters, replace(budget, tokens=tokens)


def _value(where: str, value: Any, parameter: Parameter) -> Any:
    """A parameter as it is declared, and no larger than is sensible."""
    try:
        value = parameter.read(value)
    except ParameterError as error:
        raise ApiError(400, f"{where}: {error}", where) from error
    most = (
        MOST_TOKENS
        if parameter.default is not None and parameter.kind is int and parameter.default > MOST // 2
        else MOST
    )
    if parameter.kind is int and value is not None and value > most:
        raise ApiError(400, f"{where} must be at most {most}, got {value}", where)
    if parameter.kind is str and len(value) > 4096:
        raise ApiError(400, f"{where} has {len(value):,} characters; expected at most 4,096", where)
    return value


def as_problem(turns: Sequence[Mapping[str, Any]], own: Extension, seed: int) -> Problem:
    """A conversation as a problem; a single question has the name that `intact solve` gives it."""
    prompt: Prompt = tuple((turn["role"], turn["content"]) for turn in turns)
    alone = len(turns) == 1 and turns[0]["role"] == "user"
    text = turns[0]["content"] if alone else json.dumps(prompt)
    name = own.id or hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
    return Problem(name, prompt, READERS[own.answer], seed=seed)


class Solving(Work[Result]):
    """A method at work."""

    def __init__(self, undertaking: Undertaking, model: Model, tell: Tell | None) -> None:
        super().__init__(f"method {undertaking.method.name}")
        self._undertaking, self._tell = undertaking, tell
        self._backend = (RecordingBackend if undertaking.receipt else NativeBackend)(model, undertaking.now)
        self._told = time.monotonic()

    def leave(self) -> None:
        """Nobody waits for it any more: it ends after the engine's step at hand."""
        super().leave()
        self._backend.interrupted = True

    def run(self) -> Result:
        """Solve the problem."""
        given = self._undertaking
        backends = {"main": self._backend}
        options: dict[str, Any] = {"budget": given.budget, "sampling": given.sampling}
        options |= {"progress": self._progress, "watch": self._watch}
        if given.receipt:
            driver = recording_driver(backends, scorer=_scorer, untrusted=True, **options)
        else:
            driver = Driver(backends, services=Services(_scorer, untrusted=True), **options)
        with closing(driver.solve([MethodJob(given.method, given.problem, given.parameters)])) as results:
            try:
                return next(results)[1]
            except ParameterError as error:
                raise ApiError(400, f"{given.method.name} cannot begin: {error}", "intact.method") from error

    def _progress(self, tokens: int) -> None:
        """After each round: whether to go on, and now and then what is being written."""
        self.check()
        now = time.monotonic()
        if self._tell is None or now - self._told < TELLING:
            return
        self._told = now
        texts: list[dict[str, Any]] = [
            {"branch": path(generation.branch), "tokens": count, "text": text[-SHOWN:]}
            for generation, count, text in self._backend.under_way()
        ]
        written = tokens + sum(text["tokens"] for text in texts)
        self._tell({"event": "writing", "tokens": written, "texts": texts})

    def _watch(self, event: str, node: Mapping[str, Any]) -> None:
        if self._tell is None:
            return
        if event == "begin":
            self._tell({"event": "begin", **node})
        else:  # what a called method did has been told already
            self._tell({"event": "node", "node": {name: value for name, value in node.items() if name != "nodes"}})


def _scorer(name: str) -> Scorer:
    if name not in served_scorers():
        raise ParameterError(f"there is no scorer {name!r:.60}")
    return find_scorer(name)


def checked(result: Result) -> Result:
    """A result that is an answer.

    Raises
    ------
    ApiError
        If the method failed: 400, if it was for what the request says.
    """
    cost = result.cost
    usage = {"gen_ai__usage__input_tokens": cost.prefill, "gen_ai__usage__output_tokens": cost.tokens}
    tracing.here().note(**usage, intact__why=result.why)
    kind, _, message = result.error.partition(": ")
    if result.why == "failed" and (result.answer.chosen is None or kind == ParameterError.__name__):
        raise ApiError(
            400 if kind in vars(errors) else 500, f"{result.method} failed: {message or kind}", "intact.method"
        )
    return result


def described(result: Result, undertaking: Undertaking, trace: bool) -> dict[str, Any]:
    """A result as the answer's field `intact` tells it; without seconds, which differ from run to run."""
    answer = result.answer
    cost = {name: value for name, value in result.cost.as_dict().items() if name != "seconds"}
    value: dict[str, Any] = {
        "method": result.method,
        "parameters": dict(undertaking.parameters),
        "budget": undertaking.budget.as_dict(),
        "seed": undertaking.problem.seed,
        "problem": result.id,
        "answer": answer.answer,
        "votes": dict(answer.votes),
        "confidence": answer.confidence,
        "details": dict(answer.details),
        "chosen": None if answer.chosen is None else path(answer.chosen.branch),
        "why": result.why,
        "error": result.error,
        "cost": cost,
        "caveats": list(result.caveats),
    }
    return value | ({"trace": dict(result.trace)} if trace else {})


def receipt_of(result: Result, undertaking: Undertaking) -> dict[str, Any]:
    """A choice's receipt, if one was asked for."""
    return {"receipt": documented(result)} if undertaking.receipt else {}


async def events(threads: Threads, make: Callable[[Tell | None], Solving], progress: bool) -> AsyncGenerator[Any, None]:
    """What a method tells while it works, if that is wanted; last its result."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def tell(value: dict[str, Any]) -> None:
        if value["event"] != "writing" or told.qsize() < UNREAD:
            loop.call_soon_threadsafe(told.put_nowait, value)

    async with threads.at_work(make(tell if progress else None)) as future:
        future.add_done_callback(lambda _: told.put_nowait(None))
        while (value := await told.get()) is not None:
            yield value
        yield checked(future.result())
