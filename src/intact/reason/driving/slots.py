"""Requests in progress: maximum cost, start and result."""

from __future__ import annotations

import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from intact._base.errors import FormatError, ScorerError
from intact.engine.sampling.spread import Spread
from intact.engine.shared_cache.request import SharedRequest, SharedText
from intact.reason.backends.base import Cutting, Generation, Heat, Written
from intact.reason.budget import CAPPED, Budget, Cost, Ledger
from intact.reason.driving.journal import key_of, seen
from intact.reason.driving.running import ExecutionInterface
from intact.reason.driving.writing import Writing, affordable, begun, cost_of, extension
from intact.reason.problem import Answer, Hidden, State, Why, path
from intact.reason.requests import CallMethod, Extend, Raced, Read, RunProgram, Score, WriteTogether
from intact.reason.scorer import Scorer
from intact.reason.tool import ToolResult, ToolUse
from intact.tools.sandbox import Outcome, protection

if TYPE_CHECKING:
    from concurrent.futures import Future


class Slot(ABC):
    """One request of a list while it is being served.

    Attributes
    ----------
    result
        The value that the method receives.
    refused : bool
        If true, the budget did not allow any part of the request.
    error : Exception or None
        The exception raised in the method.
    nodes : list
        Entries of the request in the trace.
    """

    def __init__(self, execution: ExecutionInterface) -> None:
        self.execution = execution
        self.result: Any = None
        self.begun = self.done = self.refused = False
        self.error: Exception | None = None
        self.cost = self._aside = Cost()
        self.nodes: list[dict[str, Any]] = []
        self._key, self._timed_out = b"", False

    @abstractmethod
    def begin(self, alone: bool) -> bool:
        """Start the request if its maximum cost is affordable; return true if it was started or refused.

        Parameters
        ----------
        alone : bool
            If true, nothing else is in progress, so the remaining budget is final: the request is shortened or refused.
        """

    def time_out(self) -> None:  # noqa: B027 (most are over in a moment)
        """Cancel the request because the time limit has passed, and keep any partial result."""

    def pay(self, most: Cost) -> None:
        """Reserve the maximum cost from the budget."""
        self._aside = most
        self.execution.ledger.set_aside(most)

    def settle(self, result: Any, cost: Cost, error: Exception | None = None) -> None:
        """End the request with a result or an error, and charge its cost."""
        self.result, self.cost, self.error, self.done = result, cost, error, True
        self.execution.ledger.settle(self._aside, cost)
        self._aside = Cost()
        if self.execution.driver.watch is not None:
            for node in self.nodes:
                self.execution.driver.watch("node", node)

    def refuse(self, result: Any = None) -> None:
        """End the request without starting it, because the budget cannot cover it."""
        self.refused = True
        self.settle(result, Cost())


class WritingSlot(Slot):
    """Extensions that begin together: a single one, or the runners of a race."""

    def __init__(self, execution: ExecutionInterface, requests: Sequence[Extend], winners: int = 0) -> None:
        super().__init__(execution)
        self._writings = [execution.writing(request) for request in requests]
        self._winners = winners
        self._arrived = sum(request.state.complete and request.state.ended for request in requests)
        self._running: dict[Generation, Writing] = {}
        self._written: dict[Writing, Written] = {}

    @property
    def extensions(self) -> list[tuple[Extend, State]]:
        """The requested extensions with their results."""
        states = self.result.states if self._winners else [self.result]
        return [(writing.request, state) for writing, state in zip(self._writings, states, strict=True)]

    @property
    def crowded(self) -> bool:
        """If true, none of its prompts is the problem's own, and the context has no room for a reply to any of them."""
        own = self.execution.problem.prompt
        return all(writing.prompt_error and writing.state.prompt != own for writing in self._writings)

    def begin(self, alone: bool) -> bool:  # noqa: D102
        execution, reading = self.execution, set[int]()
        going = [writing for writing in self._writings if not writing.request.state.ended]
        for writing in going:
            writing.look(execution.reader, reading)
            execution.prompt_error = execution.prompt_error or writing.prompt_error
            reading.update(writing.context.nodes if writing.allowed > 0 else ())
        going = [writing for writing in going if writing.allowed > 0]
        if not going or (self._winners and self._arrived >= self._winners):
            self.settle(self._results({}), Cost())
            return True
        most = affordable(going, execution.ledger)
        if most < max(writing.allowed for writing in going):
            if not alone:
                return False
            if most < 1:
                self.refuse(self._results({}))
                return True
            for writing in going:
                writing.allowed = min(writing.allowed, most)
        found = self._find(going)
        if found is None and execution.root.timed_out:
            self.refuse(self._results({}))
            return True
        self.pay(cost_of(going, most))
        execution.reader.read(reading)
        if found is not None and not execution.driver.services.recompute:
            self._written = dict(zip(going, map(_read, found), strict=True))
            self._finish()
        else:
            self._start(going, found)
        return True

    def _find(self, going: list[Writing]) -> list[list[Any]] | None:
        if self.execution.journal is None:
            return None
        keys = [writing.key() for writing in going]
        if not self._winners:
            self._key = keys[0]
            one: list[list[Any]] | None = self._recall(self._key)
            return one or self._shorten(going[0])
        self._key = key_of("race", self._winners, [key.hex() for key in keys])
        found = self._recall(self._key)
        if found is None:
            return self._decide(going, keys)
        return _all([self._whole(key) if one is None else one for one, key in zip(found, keys, strict=True)])

    def _recall(self, key: bytes) -> Any:
        return self.execution.recall(key, text=True)

    def _whole(self, key: bytes) -> list[Any] | None:
        """Return a completion that was generated to its end, or None."""
        found = self._recall(key)
        return None if found is None else found[0]

    def _shorten(self, writing: Writing) -> list[list[Any]] | None:
        """Return the part of a known longer completion that a cap allows."""
        most, backend = writing.allowed, writing.backend
        if most == writing.room or not isinstance(backend, Cutting) or writing.request.hidden:
            return None
        whole = self._whole(writing.key(writing.room))
        if whole is None:
            return None
        text = _read(whole)
        if len(text.tokens) > most:
            text = backend.cut(writing.state, text, most, "length")
        self._keep({writing: text})
        return [_stored(text)]

    def _decide(self, going: list[Writing], keys: list[bytes]) -> list[list[Any]] | None:
        """Return the completions of a race if all are known in full, with the losers cut."""
        backend = going[0].backend
        if not isinstance(backend, Cutting) or any(writing.request.hidden for writing in going):
            return None
        found = _all([self._whole(key) for key in keys])
        if found is None:
            return None
        texts = [_read(value) for value in found]
        heat = self._heat(going)
        for runner, text in enumerate(texts):
            heat.counts[runner] = len(text.tokens)
            heat.leave(runner, text.why in ("end", "stop"))
        most = heat.limit
        if most is not None:
            texts = [
                text if len(text.tokens) <= most else backend.cut(writing.state, text, most, "cancelled")
                for writing, text in zip(going, texts, strict=True)
            ]
        self._keep(dict(zip(going, texts, strict=True)))
        return [_stored(text) for text in texts]

    def _keep(self, written: Mapping[Writing, Written]) -> None:
        """Record generated completions in the journal; finished ones of a race are also recorded individually."""
        if self.execution.journal is None:
            return
        keep, values = partial(self.execution.keep, cut=self._timed_out), dict[Writing, list[Any] | None]()
        for writing, text in written.items():
            values[writing] = _stored(text)
            if self._winners and text.why != "cancelled":
                keep(writing.key(), [values[writing]])
                values[writing] = None
        keep(self._key, list(values.values()))

    def _heat(self, going: list[Writing]) -> Heat:
        return Heat(len(going), self._winners - self._arrived)

    def _start(self, going: list[Writing], found: list[list[Any]] | None) -> None:
        heat = self._heat(going) if self._winners else None
        generations = [writing.generation(heat, runner) for runner, writing in enumerate(going)]
        if found is not None and heat is None:  # the runners of a race advance token by token
            generations = [
                replace(generation, known=_read(value).tokens)
                for generation, value in zip(generations, found, strict=True)
            ]
        self._running = dict(zip(generations, going, strict=True))
        self.execution.note(self._key)
        if self.execution.driver.watch is not None:
            for generation in generations:
                self.execution.driver.watch("begin", begun(generation))
        self.execution.driver.start(self.execution, going[0].backend, generations, self._wrote)

    def time_out(self) -> None:  # noqa: D102
        self._timed_out = True
        for generation, writing in self._running.items():
            if generation.written is None:
                writing.backend.cancel([generation])

    def _wrote(self, generation: Generation) -> None:
        assert generation.written is not None
        self._written[self._running[generation]] = generation.written
        if len(self._written) < len(self._running):
            return
        if self._timed_out:
            for writing, written in self._written.items():
                if written.why == "cancelled":
                    self._written[writing] = written._replace(why="budget")
        if not any(written.why == "error" for written in self._written.values()):  # the error may be transient
            self._keep({writing: self._written[writing] for writing in self._running.values()})
        self._finish()

    def _finish(self) -> None:
        cost = Cost()
        for writing, written in self._written.items():
            one = writing.cost(len(written.tokens))
            cost = cost.plus(one)._replace(sequential=max(cost.sequential, one.sequential))
        self.settle(self._results(self._written), cost)

    def _idle(self, writing: Writing) -> Why:
        """Return the stop reason of an extension for which nothing was generated."""
        if writing.allowed < 1:
            return "context"
        return "cancelled" if self._winners and self._arrived >= self._winners else "budget"

    def _results(self, written: dict[Writing, Written]) -> Any:
        states = []
        for writing in self._writings:
            if writing in written:
                states.append(writing.extended(written[writing]))
                self.nodes.append(extension(writing, states[-1], written[writing]))
            elif writing.request.state.ended:
                states.append(writing.request.state)
            else:
                states.append(replace(writing.request.state, why=self._idle(writing), error=""))
        if not self._winners:
            return states[0]
        lengths = [len(written[writing].tokens) if writing in written else 0 for writing in self._writings]
        arrivals = sorted(
            (length, i) for i, (length, state) in enumerate(zip(lengths, states, strict=True)) if state.complete
        )
        return Raced(states, [runner for _, runner in arrivals[: self._winners]])


def _all(values: list[list[Any] | None]) -> list[list[Any]] | None:
    """Return the values, or None if any is missing."""
    there = [value for value in values if value is not None]
    return there if len(there) == len(values) else None


def _stored(text: Written) -> list[Any]:
    """Return a completion as it is stored in the journal; a missing spread is omitted, as in older journals."""
    return list(text if text.spread else text[:-1])


def _read(value: list[Any]) -> Written:
    text, tokens, logprobs, top, why, error, *more = value
    likeliest = tuple(tuple((str(word), int(value)) for word, value in one) for one in top)
    entered = Hidden(*more[0]) if more and more[0] else None
    spread = tuple([Spread(*one) for one in more[1]]) if len(more) > 1 else ()
    return Written(text, tuple(tokens), tuple(logprobs), likeliest, why=why, error=error, hidden=entered, spread=spread)


class ScoreSlot(Slot):
    """A scorer that returns its scores directly."""

    def __init__(self, execution: ExecutionInterface, scorer: Scorer, states: Sequence[State]) -> None:
        super().__init__(execution)
        self._scorer, self._states = scorer, list(states)

    def begin(self, alone: bool) -> bool:  # noqa: D102
        scorer, states, execution = self._scorer, self._states, self.execution
        cost = Cost(scores=len(states))
        if not execution.ledger.fits(cost):
            if alone:
                self.refuse()
            return alone
        kept = execution.journal is not None and (scorer.digest or execution.root.timed)
        texts = [seen(state) for state in states] if kept else []
        key = key_of("score", scorer.name, scorer.digest, execution.problem.id, execution.problem.prompt, texts)
        if not scorer.digest:  # what else its scores depend on is unknown
            key = execution.own(key)
        found = execution.recall(key) if kept else None
        if found is None and execution.root.timed_out:
            self.refuse()
            return True
        self.pay(cost)
        try:
            values = found if found is not None else scorer.score(execution.problem, states)
            scores = checked(scorer.name, values, states)
        except ScorerError as error:
            self.settle(None, cost, error)
        except Exception as error:
            self.settle(None, cost, ScorerError(f"the scorer {scorer.name} failed: {type(error).__name__}: {error}"))
        else:
            if kept and found is None:
                execution.keep(key, scores)
            self.nodes.append(score_node(scorer.name, states, scores))
            self.settle(scores, cost)
        return True


def checked(name: str, values: Any, states: Sequence[State]) -> list[float]:
    """Validate a scorer's scores: one finite number per state.

    Raises
    ------
    ScorerError
        If the count is wrong, or a score is not a finite number.
    """
    try:
        scores = [float(value) for value in values]
    except Exception as error:  # a scorer's own types may raise anything
        raise ScorerError(f"the scorer {name} must return a list of numbers, got {values!r:.60}: {error}") from error
    if len(scores) != len(states):
        raise ScorerError(f"the scorer {name} returned {len(scores)} scores for {len(states)} texts")
    for score, state in zip(scores, states, strict=True):
        if not math.isfinite(score):
            raise ScorerError(f"the scorer {name} returned {score} for {path(state.branch)}; a score must be finite")
    return scores


class CallSlot(Slot):
    """Another method, or a scorer that queries a model.

    Attributes
    ----------
    share : Budget
        Budget of the call.
    """

    def __init__(self, execution: ExecutionInterface, request: CallMethod | Score) -> None:
        super().__init__(execution)
        self._request, self.share = request, Budget()
        self._name, self.child = execution.call(request)
        self._own = Cost(scores=len(request.states)) if isinstance(request, Score) else Cost()

    def pay_own(self) -> bool:
        """Reserve the call's own cost, without the cost of its requests; refuse the call if it is not affordable."""
        self.begun = True
        if not self.execution.ledger.fits(self._own):
            self.refuse()
            return False
        self.pay(self._own)
        return True

    def begin(self, alone: bool) -> bool:
        """Start the call with its share of the remaining budget."""
        caps = {name: cap for name, cap in self.share.as_dict().items() if name in CAPPED}
        share = Cost(**caps)  # type: ignore[arg-type]
        self.execution.ledger.set_aside(share)
        self._aside = self._own.plus(share)
        judging = isinstance(self._request, Score)  # a scorer's texts are not texts of the method
        self.child.ledger = Ledger(replace(self.share, text=None) if judging else self.share)
        self.child.waiter = self._concluded
        self.execution.driver.ready.append(self.child)
        return True

    def time_out(self) -> None:  # noqa: D102
        self.child.time_out()

    def _concluded(self) -> None:
        child, request = self.child, self._request
        cost = child.ledger.spent.plus(self._own)
        error, value = child.error if child.conclusion == "failed" else None, child.value
        self.refused = child.conclusion == "spent" or (isinstance(request, Score) and child.spent)
        self.execution.spent = self.execution.spent or child.spent
        node: dict[str, Any] = {"kind": "call", "nodes": child.nodes, "ended": child.conclusion}
        if isinstance(request, CallMethod):
            node |= {"method": self._name, "answer": getattr(value, "answer", None)}
            self.execution.text_error = self.execution.text_error or child.text_error
            self.execution.prompt_error = self.execution.prompt_error or child.prompt_error
            if error is None and not isinstance(value, Answer):
                error = TypeError(f"{self._name} returned {type(value).__name__}; expected an Answer")
        else:
            node |= {"scorer": self._name} if child.conclusion == "done" else {}
            value, error = self._judged(request, error)
        self.nodes.insert(0, node)
        self.settle(value, cost, error)
        self.execution.driver.ready.append(self.execution)

    def _judged(self, request: Score, error: Exception | None) -> tuple[list[float] | None, ScorerError | None]:
        """Return a scorer's scores, or an error; if any of its requests was not served, there are no scores."""
        child, name = self.child, self._name
        if child.text_error:
            return None, ScorerError(f"the scorer {name} could not make a request: {child.text_error}")
        if self.refused:
            return None, None
        if error is not None:
            return None, ScorerError(f"the scorer {name} failed: {type(error).__name__}: {error}")
        try:
            scores = checked(name, child.value, request.states)
        except ScorerError as raised:
            return None, raised
        self.nodes.append(score_node(name, request.states, scores))
        return scores, None


class ReadSlot(Slot):
    """A file to read."""

    def __init__(self, execution: ExecutionInterface, request: Read) -> None:
        super().__init__(execution)
        self._request = request

    def begin(self, alone: bool) -> bool:  # noqa: D102
        try:
            self.settle(self.execution.driver.services.read(self.execution.root, self._request.file), Cost())
        except FormatError as error:
            self.settle(None, Cost(), error)
        return True


class WorkSlot(Slot):
    """Work outside the engine, in a thread of its own.

    Attributes
    ----------
    most : Cost
        Maximum cost; by default one program run.
    """

    most = Cost(runs=1)

    @abstractmethod
    def find_key(self) -> bytes:
        """Return the journal key."""

    @abstractmethod
    def start(self) -> None:
        """Have the driver do the work and call `ended`."""

    @abstractmethod
    def finish(self, value: Any) -> None:
        """Settle the request with a result in the journal's format."""

    @abstractmethod
    def value_of(self, result: Any) -> dict[str, Any]:
        """Return a result in the journal's format."""

    def begin(self, alone: bool) -> bool:  # noqa: D102
        execution = self.execution
        if not execution.ledger.fits(self.most):
            if alone:
                self.refuse()
            return alone
        if execution.journal is not None:
            self._key = self.find_key()
        found = execution.recall(self._key)
        if found is None and execution.root.timed_out:
            self.refuse()
            return True
        self.pay(self.most)
        if found is not None:
            self.finish(found)
        else:
            execution.note(self._key)
            self.start()
        return True

    def time_out(self) -> None:  # noqa: D102
        self._timed_out = True
        self.execution.driver.end_work(self.execution)

    def ended(self, future: Future[Any]) -> None:
        """Settle the request with the outcome of the work."""
        if future.cancelled():
            self.refuse()
            return
        error = future.exception()
        if error is not None:
            cost = Cost(runs=self.most.runs)
            self.settle(None, cost, error if isinstance(error, Exception) else RuntimeError(repr(error)))
            return
        value = self.value_of(future.result())
        self.execution.keep(self._key, value, cut=self._timed_out)
        self.finish(value)


class RunSlot(WorkSlot):
    """A program to run in the sandbox."""

    def __init__(self, execution: ExecutionInterface, request: RunProgram) -> None:
        super().__init__(execution)
        self._request = request

    def find_key(self) -> bytes:
        """Return the digest of a program and everything its outcome depends on: limits, protection, interpreter."""
        guard, request = protection(), self._request
        place = guard.kind, guard.filtered, platform.python_version()
        return key_of("run", request.code, request.stdin, astuple(request.limits), place)

    def start(self) -> None:
        """Run the program."""
        driver, request = self.execution.driver, self._request
        known = driver.services.known_outcome(request)
        driver.run_work(self.execution, known, partial(driver.services.run, request), self.ended)

    def value_of(self, result: Outcome) -> dict[str, Any]:  # noqa: D102
        return asdict(result)

    def finish(self, value: Any) -> None:
        """Settle the request with the program's outcome."""
        outcome = Outcome(**value)
        self.nodes.append(run_node(self._request, outcome))
        self.settle(outcome, Cost(runs=1))


class UseSlot(WorkSlot):
    """A tool call."""

    def __init__(self, execution: ExecutionInterface, call: ToolUse) -> None:
        super().__init__(execution)
        self._call = call

    def find_key(self) -> bytes:
        """Return the digest of a call and of the tool's version."""
        tool, values, place = self._call
        return key_of("tool", tool.name, tool.address(values), dict(values), place)

    def start(self) -> None:
        """Call the tool."""
        driver, call = self.execution.driver, self._call
        driver.run_work(
            self.execution, driver.services.known_result(call), partial(driver.services.use, call), self.ended
        )

    def value_of(self, result: ToolResult) -> dict[str, Any]:  # noqa: D102
        return result._asdict()

    def finish(self, value: Any) -> None:
        """Settle the request with the tool's result."""
        result = ToolResult(**value)
        self.nodes.append(tool_node(self._call, result))
        self.settle(result, Cost(runs=1))


class SharedSlot(WorkSlot):
    """A completion that several workers write together."""

    def __init__(self, execution: ExecutionInterface, request: WriteTogether) -> None:
        super().__init__(execution)
        self._backend, self._request = execution.sharing(request)
        self._model = request.model
        own, context = self._request, self._backend.context
        positions = own.n * context  # no worker sees more than a context
        operations, sequential = positions * self._backend.operations(context, 1), own.tokens + own.conclude
        self.most = Cost(own.n * own.tokens + own.conclude, positions, operations, sequential=sequential)

    def find_key(self) -> bytes:
        """Return the digest of the request and of the model."""
        return key_of("shared", self._backend.identity, self._request.to_document())

    def start(self) -> None:
        """Have the completion generated."""
        driver, request = self.execution.driver, self._request
        known = driver.services.known_shared(self._model, request)
        driver.run_work(self.execution, known, partial(self._backend.write_together, request), self.ended)

    def value_of(self, result: SharedText) -> dict[str, Any]:  # noqa: D102
        return result.to_document()

    def finish(self, value: Any) -> None:
        """Settle the request with the completed text."""
        text = SharedText.from_document(value)
        self.nodes.append(shared_node(self._request, text))
        cost = Cost(text.drawn, text.read, text.operations, sequential=text.sequential)
        self.settle(text, cost)

    def ended(self, future: Future[Any]) -> None:  # noqa: D102
        super().ended(future)
        self.execution.driver.written += self.cost.tokens


def shared_node(request: SharedRequest, text: SharedText) -> dict[str, Any]:
    """Return the trace entry of a completion that workers wrote together."""
    branch, document = path(request.branch), text.to_document()
    return {"kind": "shared", "branch": branch, "request": request.to_document(), **document}


def score_node(name: str, states: Sequence[State], scores: Sequence[float]) -> dict[str, Any]:
    """Return the trace entry of scored completions."""
    return {
        "kind": "score",
        "scorer": name,
        "scores": [[path(s.branch), v] for s, v in zip(states, scores, strict=True)],
    }


def run_node(request: RunProgram, outcome: Outcome) -> dict[str, Any]:
    """Return the trace entry of a program run."""
    request_values = {"code": request.code, "seconds": request.seconds}
    request_values |= {} if request.stdin is None else {"stdin": request.stdin}
    return {"kind": "run", **request_values, "stdout": outcome.stdout, "status": outcome.status, "ended": outcome.ended}


def tool_node(call: ToolUse, result: ToolResult) -> dict[str, Any]:
    """Return the trace entry of a tool call."""
    tool, values, place = call
    node: dict[str, Any] = {"kind": "tool", "tool": tool.name, "version": tool.address(values), "values": dict(values)}
    node |= {"text": result.text, "ended": result.ended, "replayable": tool.replayable}
    return node | ({} if tool.replayable else {"place": place})
