"""The execution of a method on a problem: its generator, ledger, place in the tree and pending requests."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from intact._base.errors import NoRoomError, ParameterError, SpentError
from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.shared_cache.request import SharedRequest
from intact.reason.aggregate.votes import elect
from intact.reason.backends.base import Backend, Sharing, SharingBackend, Spreading
from intact.reason.budget import Budget, Cost, Ledger
from intact.reason.driving.journal import key_of
from intact.reason.driving.running import DriverInterface
from intact.reason.driving.services import Root
from intact.reason.driving.slots import (
    CallSlot,
    ReadSlot,
    RunSlot,
    ScoreSlot,
    SharedSlot,
    Slot,
    UseSlot,
    WritingSlot,
)
from intact.reason.driving.writing import ReadTexts, Writing
from intact.reason.limits import model_names
from intact.reason.problem import Answer, Branch, Conclusion, Piece, Problem, State, path
from intact.reason.registry import Method
from intact.reason.requests import CallMethod, Extend, Race, Read, RunProgram, Score, Use, WriteTogether
from intact.reason.scorer import Scorer, TokenNeeds
from intact.reason.tool import ToolUse

_LOG = logging.getLogger("intact")
DEFAULTS: Final[Mapping[str, Any]] = {"max_tokens": 512, "stop": ()}
"""Default sampling parameters of an extension."""
_DRAWING: Final = ("temperature", "top_p", "top_k", "min_p", "typical_p")
"""The sampling parameters that workers sharing a cache support."""
DEPTH = 16
"""Maximum nesting depth of methods that call methods."""
_FIELDS = sorted(inspect.signature(Extend).parameters.keys() & inspect.signature(SamplingParameters).parameters.keys())
"""The sampling parameters that a request may set."""


@lru_cache(maxsize=1024)
def _parameters(fields: tuple[tuple[str, Any], ...]) -> SamplingParameters:
    return SamplingParameters(**dict(fields))


class Execution:
    """Run one generator: serve its requests, and send it the results.

    Parameters
    ----------
    sampling : mapping
        Sampling parameters used where a request gives none.
    options : mapping
        The subset of `sampling` that the user set.

    Attributes
    ----------
    conclusion, value, error
        The way the generator ended, the value it returned, and the error it raised; None while it runs.
    needs : TokenNeeds
        Per-token data that the scorers require.
    text_error : str
        The first error of a completion that could not be generated.
    prompt_error : str
        The error of the first prompt that leaves no room in the context.
    """

    def __init__(
        self,
        driver: DriverInterface,
        root: Root,
        problem: Problem,
        generator: Generator[Any, Any, Any],
        *,
        sampling: Mapping[str, Any],
        options: Mapping[str, Any],
        ledger: Ledger,
        reader: ReadTexts,
        depth: int = 0,
    ) -> None:
        self.driver, self.root, self.problem, self.ledger, self.reader = driver, root, problem, ledger, reader
        self.sampling, self.options, self.journal = sampling, options, driver.journal
        self.conclusion: Conclusion | None = None
        self.value: Any = None
        self.error: Exception | None = None
        self.text_error = self.prompt_error = ""
        self.needs = TokenNeeds()
        self.spent = False  # true if the budget granted less than was requested
        self.nodes: list[dict[str, Any]] = []
        self.waiter: Callable[[], None] | None = None
        self._generator, self._depth = generator, depth
        if not inspect.isgenerator(generator):
            raise ParameterError(f"a method or scorer must be a generator function; it returned {generator!r:.100}")
        self._slots: list[Slot] = []
        self._several = False
        self._children: dict[Branch, int] = {}
        self._calls = self._recorded = 0
        self._leaves: dict[Branch, State] = {}

    # Methods used by slots

    def writing(self, request: Extend) -> Writing:
        """Resolve the defaults of an extension, and assign it a place in the tree."""
        backend = self.driver.model(self, request.model)
        fields: dict[str, Any] = {**DEFAULTS, **self.sampling, "seed": self.problem.seed}
        ends = (fields["stop"],) if isinstance(fields["stop"], str) else tuple(fields["stop"])
        fields |= {name: value for name in _FIELDS if (value := getattr(request, name)) not in (None, ())}
        if self.needs.rivals > fields.get("top_logprobs", 0):
            fields["top_logprobs"] = self.needs.rivals
        own = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)
        other = request.state.prompt != self.problem.prompt
        begins = all(piece.model is None for piece in request.state.pieces)
        if other:
            ends = () if own else ends  # a reply to another prompt may contain the user's stop strings
        fields["stop"] = tuple(dict.fromkeys([*own, *ends]))
        parameters = _parameters(tuple(sorted(fields.items())))
        state = self._readable(request.model, backend, request.state)
        self._note_template(state, backend)
        resolved = state, self._child(request.state), parameters, ends, other and begins
        cap = self.ledger.budget.text
        left = None if cap is None else max(0, cap - state.length)
        spread = (request.spread or self.needs.spread) and isinstance(backend, Spreading) and backend.spreads
        return Writing(request, request.model, backend, *resolved, left=left, spread=spread)

    def sharing(self, request: WriteTogether) -> tuple[SharingBackend, SharedRequest]:
        """Resolve the defaults of a request to write together, and assign it a place in the tree.

        Raises
        ------
        ParameterError
            If the model runs elsewhere, or the user's sampling parameters set anything but temperature and filters.
        """
        backend = self.driver.model(self, request.model)
        if not isinstance(backend, Sharing):
            raise ParameterError("workers can share the cache of a local model only: use cache=text with endpoints")
        parameters = SamplingParameters(**{**DEFAULTS, **self.sampling, "max_tokens": request.tokens})
        if others := parameters.changed.keys() - {"max_tokens", *_DRAWING}:
            names = ", ".join(sorted(others))
            raise ParameterError(f"workers that share a cache support only {', '.join(_DRAWING)}, got {names}")
        state = self._readable(request.model, backend, request.state)
        self._note_template(state, backend)
        prompt = tuple(backend.tokens_of(state))
        own = {one.name: getattr(request, one.name) for one in dataclass_fields(request)}
        del own["state"], own["model"]
        branch, sampling = self._child(request.state), parameters.sampling
        return backend, SharedRequest(prompt, **own, sampling=sampling, seed=self.problem.seed, branch=branch)

    def _note_template(self, state: State, backend: Backend) -> None:
        """Record the time and thinking mode passed to the chat template, if it is used."""
        if isinstance(state.prompt, str):
            return
        if self.root.now is None and self.driver.needs_time(backend):
            self.root.now = self.driver.now
        if self.root.thinking is None and getattr(backend, "thinking", None) is not None:
            self.root.thinking = self.driver.thinking

    def _child(self, state: State) -> Branch:
        """Return the branch of the next continuation of a state, numbered among all continuations in this execution."""
        root, branch = self.problem.root, state.branch
        if branch[: len(root)] != root:
            branch += root[1:]  # a caller's text: must not collide with the caller's own continuations
        number = self._children.get(branch, 0)
        self._children[branch] = number + 1
        return (*branch, number)

    def _readable(self, model: str, backend: Backend, state: State) -> State:
        """Return a state in which pieces written with another vocabulary have text but no tokens."""
        if all(piece.model is None or piece.model == model for piece in state.pieces):
            return state

        def readable(piece: Piece) -> Piece:
            if piece.model is None or self.driver.model(self, piece.model).vocabulary == backend.vocabulary:
                return piece
            return Piece(piece.text, model=piece.model, special=False)

        return replace(state, pieces=tuple([readable(piece) for piece in state.pieces]))

    def note(self, key: bytes) -> None:
        """Record in the journal that a request has begun."""
        if self.journal is not None:
            self.journal.begin(key)

    def recall(self, key: bytes, text: bool = False) -> Any:
        """Return the journaled result of a request, or None; if everything is recomputed, look up only completions.

        Under a time limit, return what this job itself received for the request, so that a replay does not receive more
        than that.
        """
        if self.journal is None or (self.driver.services.recompute and not text):
            return None
        if not self.root.timed:
            return self.journal.find(key)
        found = self.journal.find(self.own(key))
        if found is None and not self.root.timed_out:
            found = self.journal.find(key)
            if found is not None:
                self.journal.add(self.own(key), found)
        return found

    def keep(self, key: bytes, value: Any, cut: bool = False) -> None:
        """Record a result in the journal; `cut` marks a partial result at a timeout."""
        if self.journal is None:
            return
        if self.root.timed:
            self.journal.add(self.own(key), value)
        if not cut:
            self.journal.add(key, value)

    def own(self, key: bytes) -> bytes:
        """Return a key for the request that is specific to this job."""
        return key_of("timed", self.root.key.hex(), key.hex())

    # The generator's side

    def pump(self) -> None:
        """Advance as far as possible: start the requests that the budget allows, and send results to the generator."""
        while self.conclusion is None:
            self._begin()
            if not all(slot.done for slot in self._slots):
                return
            self._advance()

    def time_out(self) -> None:
        """Cancel all requests in progress because the time limit has passed."""
        for slot in self._slots:
            if slot.begun and not slot.done:
                slot.time_out()

    def close(self) -> None:
        """Close the generator, ignoring any exception it raises."""
        try:
            self._generator.close()
        except Exception:  # it yielded again or failed in its clean-up; the others must be closed too
            _LOG.exception("%s: a method could not be closed", self.problem.id)
        for slot in self._slots:
            if isinstance(slot, CallSlot) and slot.child is not None:
                slot.child.close()

    def _begin(self) -> None:
        """Start requests in order, each as if the earlier ones had ended, so that timing has no effect."""
        waiting = [slot for slot in self._slots if not slot.begun]
        for slot in waiting:
            if isinstance(slot, CallSlot):
                continue
            alone = all(other.done for other in self._slots if other.begun)
            try:
                if not slot.begin(alone):
                    return
            except self.driver.services.fatal:
                raise
            except Exception as error:  # a request that cannot be served; the others in the list end first
                slot.settle(None, Cost(), error)
            slot.begun = True
        calls = [slot for slot in waiting if isinstance(slot, CallSlot)]
        if not calls or (self.ledger.capped and not all(slot.done for slot in self._slots if slot not in calls)):
            return
        calls = [slot for slot in calls if slot.pay_own()]
        share = self.ledger.rest(max(1, len(calls)))
        for slot in calls:
            slot.share = share
            slot.begin(True)

    def _advance(self) -> None:
        slots, self._slots = self._slots, []
        for slot in slots:
            self.nodes += slot.nodes
            self._remember(slot)
        lengths = [slot.cost.sequential for slot in slots]
        self.ledger.overlap(sum(lengths) - max(lengths, default=0))
        error = next((slot.error for slot in slots if slot.error is not None), None)
        if error is None and slots and _unpaid(slots):
            error, self.spent = SpentError("the budget has nothing left for the requests"), True
        if error is None and self._leaves and _crowded(slots):  # existing texts can vote
            error, self.spent = NoRoomError(f"the context has no room for the requests: {self.prompt_error}"), True
        results = [slot.result for slot in slots]
        try:
            if error is not None:
                request = self._generator.throw(error)
            else:
                request = self._generator.send(results if self._several else results[0] if results else None)
            self._take(request)
        except StopIteration as stop:
            self._conclude("done", stop.value)
        except SpentError as spent:
            self._conclude("spent", None, spent)
        except Exception as raised:
            self._conclude("failed", None, raised)

    def _remember(self, slot: Slot) -> None:
        """Keep the leaves of the tree that reply to the problem's own prompt."""
        if isinstance(slot, WritingSlot) and slot.error is None:
            for request, state in slot.extensions:
                if state.prompt == self.problem.prompt:
                    self._leaves.pop(request.state.branch, None)
                    self._leaves[state.branch] = state
                self.text_error = self.text_error or state.error
                self.spent = self.spent or state.why == "budget"

    def _take(self, request: Any) -> None:
        self._several = isinstance(request, list | tuple)
        self._slots = [self._slot(one) for one in (request if self._several else [request])]

    def _slot(self, request: Any) -> Slot:
        match request:
            case Extend():
                return WritingSlot(self, [request])
            case Race():
                if request.winners < 1 or not request.runners:
                    raise ParameterError("a race needs at least one runner and one winner")
                if len({runner.model for runner in request.runners}) > 1:
                    raise ParameterError("the runners of a race must use one model: token counts differ between models")
                return WritingSlot(self, request.runners, request.winners)
            case Score():
                scorer = self._scorer(request.scorer)
                is_generator = inspect.isgeneratorfunction(scorer.score)
                return (
                    CallSlot(self, Score(scorer, request.states))
                    if is_generator
                    else ScoreSlot(self, scorer, request.states)
                )
            case WriteTogether():
                return SharedSlot(self, request)
            case RunProgram():
                return RunSlot(self, request)
            case Use():
                return UseSlot(self, self._tool_call(request))
            case Read():
                return ReadSlot(self, request)
            case CallMethod():
                return CallSlot(self, request)
        raise ParameterError(f"a method must yield requests (docs/reasoning.md), got {type(request).__name__}")

    def _scorer(self, wanted: Scorer | str) -> Scorer:
        return self.driver.services.scorer(self.root, wanted) if isinstance(wanted, str) else wanted

    def _tool_call(self, request: Use) -> ToolUse:
        """Return a call with validated inputs; one that is not replayable gets a unique place."""
        tool = self.driver.services.tool(request.tool) if isinstance(request.tool, str) else request.tool
        values = tool.check(request.values)
        if tool.replayable:
            return ToolUse(tool, values)
        self._recorded += 1
        return ToolUse(tool, values, f"{self.problem.seed}/{path(self.problem.root)}#{self._recorded}")

    def look_up(self, method: Method, parameters: Mapping[str, Any]) -> TokenNeeds:
        """Look up the scorers, models and tools named by parameters, before any token is spent on a wrong name.

        Returns
        -------
        TokenNeeds
            Per-token data that the scorers require.

        Raises
        ------
        ParameterError
            If a scorer, model or tool does not exist, or the method cannot use the scorer's scores; also anything that
            constructing the scorer raises.
        """
        needs = TokenNeeds()
        for parameter in method.parameters:
            value = parameters.get(parameter.name, parameter.default)
            if parameter.names == "scorer":
                scorer = self._scorer(value)
                needs = needs.joined(getattr(scorer, "rivals", 0), getattr(scorer, "spread", False))
                method.check_scorer(parameters, getattr(scorer, "name", repr(value)), scorer)
            elif parameter.names == "model":
                if parameter.listed:
                    for name in model_names(value):
                        self.driver.find_model(name)
                else:
                    self.driver.model(self, value)
            elif parameter.names == "tool" and (value or parameter.default):
                self.driver.services.tool(value)
        return needs

    def call(self, request: CallMethod | Score) -> tuple[str, Execution]:
        """Start another method, or a generator scorer, with a root below this one's; also return its name."""
        label = ("c" if isinstance(request, CallMethod) else "s") + str(self._calls)
        self._calls += 1
        problem = request.problem if isinstance(request, CallMethod) else self.problem
        problem = replace(problem, seed=self.problem.seed, branch=(*self.problem.root, label))
        sampling = self.sampling
        generator: Generator[Any, Any, Any]
        needs = TokenNeeds()
        if isinstance(request, CallMethod):
            method = self.driver.services.method(request)
            sampling = dict(method.sampling) | dict(self.options)
            steps = method(problem, **method.with_sampling(self.options, request.parameters))
            name, generator = method.name, self.driver.capped(steps, sampling)
            needs = self.look_up(method, request.parameters)
        else:
            scorer = self._scorer(request.scorer)
            name, generator = getattr(scorer, "name", ""), scorer.score(problem, list(request.states))  # type: ignore[assignment]
        if self._depth >= DEPTH:
            raise ParameterError(f"methods may call each other at most {DEPTH} deep")
        ledger, reader = Ledger(Budget()), ReadTexts(self.reader)
        child = Execution(
            self.driver,
            self.root,
            problem,
            generator,
            sampling=sampling,
            options=self.options,
            ledger=ledger,
            reader=reader,
            depth=self._depth + 1,
        )
        child.needs = needs
        return name, child

    def _conclude(self, conclusion: Conclusion, value: Any, error: Exception | None = None) -> None:
        self._generator.close()
        self.conclusion, self.value, self.error = conclusion, value, error
        if conclusion != "done":
            try:
                self.value = self._best()
            except Exception as raised:  # raised by the problem's answer reader
                self.value, self.error = Answer(None), error or raised
        if self.waiter is not None:
            self.waiter()

    def _best(self) -> Answer:
        """Return the majority answer among the finished completions or, if they give no answer, among all leaves."""
        leaves = list(self._leaves.values())
        best = elect(self.problem, [state for state in leaves if state.ended and state.complete])
        return elect(self.problem, leaves) if best.answer is None else best


def _crowded(slots: Sequence[Slot]) -> bool:
    """Return true if a method cannot continue because none of its own prompts fits in the context."""
    extending = [slot for slot in slots if isinstance(slot, WritingSlot)]
    return bool(extending) and all(slot.crowded for slot in extending)


def _unpaid(slots: Sequence[Slot]) -> bool:
    """Return true if a method cannot continue: none of its extensions was affordable, or some other request was not."""
    extending = [slot for slot in slots if isinstance(slot, WritingSlot)]
    others = [slot for slot in slots if not isinstance(slot, WritingSlot)]
    return any(slot.refused and slot.result is None for slot in others) or (
        bool(extending) and all(slot.refused for slot in extending)
    )
