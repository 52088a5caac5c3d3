"""Runs many methods over many problems at once: collects what they ask for, hands out what comes of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from threading import Event
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact.errors import FormatError, IntactError, JournalError, ParameterError
from intact.reason.answer import Answer, Result
from intact.reason.backends.base import Backend, Generation, Rendering
from intact.reason.budget import Budget, Ledger
from intact.reason.execution import Execution, Root
from intact.reason.journal import Journal, key_of
from intact.reason.problem import Problem
from intact.reason.registry import Method, find
from intact.reason.requests import Call, Run
from intact.reason.scorer import Scorer
from intact.reason.trace import path
from intact.reason.writing import Reader

if TYPE_CHECKING:
    from intact.tools.sandbox import Outcome

VERSION: Final = 1
"""Of what becomes of a method's requests (places, draws, races, budgets, costs); see `intact.run_receipts.versions`."""
PARALLEL = 64
"""Problems that are worked at a time, at most."""
ENOUGH = 256
"""Texts that are being written; with so many no further problem is begun."""
LARGEST_FILE = 1 << 20
"""Bytes of a file that a method reads."""


class Task(NamedTuple):
    """A method, with parameters, for a problem."""

    method: Method
    problem: Problem
    parameters: Mapping[str, Any]


class Active(NamedTuple):
    """A task under way, by its number, and when it began."""

    number: int
    task: Task
    execution: Execution
    began: float


class Driver:
    """Serves methods. What one gets depends on its requests alone: not on what runs beside it, nor on timing.

    Parameters
    ----------
    backends : mapping of str to Backend
        The models by name; the first is the one that requests mean without a name.
    journal : Journal, optional
        Where results are kept, and found.
    budget : Budget, optional
        What each problem may cost.
    sampling : mapping, optional
        The user's wishes where a request says nothing: fields of `Extend`.
    scorer : callable, optional
        Makes a scorer of its name, which serves every request that names it.
    parallel : int
        Problems at a time, at most.
    seconds : float, optional
        What all may take together, wall time.
    progress : callable, optional
        Told after each round how many tokens have been written so far. What it raises ends everything.
    watch : callable, optional
        Told what happens to the trees of texts as soon as it does: "begin" with branch and parent of a text that is
        being written, "node" with an entry of the trace. When, and in which order, depends on timing.
    clock : callable
        Seconds; only a cap in seconds and the reported time depend on it.

    Attributes
    ----------
    anew : bool
        Whether all is done again that the journal knows. It says then only what texts are expected to become.
    now : datetime or None
        The time that chat templates are told; None where none of the models' asks for it.
    fatal : tuple of types
        What ends everything, where a method's request raises it; of anything else that method is told alone.
    for_strangers : bool
        If true, programs never run without protection, whatever INTACT_SANDBOX says.
    """

    anew = False
    for_strangers = False
    fatal: tuple[type[Exception], ...] = (JournalError,)

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        journal: Journal | None = None,
        budget: Budget | None = None,
        sampling: Mapping[str, Any] | None = None,
        scorer: Callable[[str], Scorer] | None = None,
        parallel: int = PARALLEL,
        seconds: float | None = None,
        progress: Callable[[int], None] | None = None,
        watch: Callable[[str, Mapping[str, Any]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backends, self.journal = dict(backends), journal
        self.now = told_time(backends.values())
        self.budget, self.sampling, self.parallel = budget or Budget(), dict(sampling or {}), parallel
        self.scorer = cache(scorer or _no_scorer)
        self.ready: deque[Execution] = deque()
        self._clock, self._seconds, self._began = clock, seconds, clock()
        self._writing: dict[Generation, tuple[Execution, Callable[[Generation], None]]] = {}
        self._running: dict[Future[Any], tuple[Execution, Callable[[Future[Any]], None], Event]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._progress, self._tokens, self.watch = progress, 0, watch
        self._active: list[Active] = []

    def solve(self, tasks: Iterable[Task]) -> Generator[tuple[int, Result], None, None]:
        """Work on tasks; each one's number and result, as they end. Leaving early ends what is under way."""
        waiting = enumerate(tasks)
        try:
            while True:
                self._pump()
                while len(self._active) < self.parallel and len(self._writing) < ENOUGH:
                    following = next(waiting, None)
                    if following is None:
                        break
                    self._open(*following)
                    self._pump()
                if not self._active:
                    return
                ended = [active for active in self._active if active.execution.conclusion is not None]
                self._active = [active for active in self._active if active.execution.conclusion is None]
                results = [(active.number, self._result(active)) for active in ended]
                if self.journal is not None:
                    self.journal.commit()
                yield from results
                if not ended:
                    self._work()
        finally:
            self._close()

    # What executions use

    def start(
        self,
        execution: Execution,
        backend: Backend,
        generations: Sequence[Generation],
        done: Callable[[Generation], None],
    ) -> None:
        """Have texts written."""
        backend.start(generations)
        for generation in generations:
            self._writing[generation] = execution, done

    def run_code(self, execution: Execution, request: Run, done: Callable[[Future[Any]], None]) -> None:
        """Run a program, in a thread."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(2, "intact-run")
        stop = Event()
        self._running[self._pool.submit(self.run_now, request, stop)] = execution, done, stop

    def run_now(self, request: Run, stop: Event) -> Outcome:
        """Run a program in the sandbox, and wait for it; `stop` ends it."""
        from intact.tools import sandbox

        return sandbox.run(request.code, request.stdin, request.limits, stop=stop, stranger=self.for_strangers)

    def end_code(self, execution: Execution) -> None:
        """End an execution's programs: of those that have not begun the futures are cancelled."""
        for future, (whose, done, stop) in list(self._running.items()):
            if whose is execution:
                stop.set()
                if future.cancel():
                    del self._running[future]
                    done(future)
                    self.ready.append(execution)

    def read(self, execution: Execution, file: str) -> str:
        """Read a file of the user's."""
        return read_text(file)

    def scorer_for(self, execution: Execution, name: str) -> Scorer:
        """Find a scorer by its name."""
        return self.scorer(name)

    def asks_time(self, backend: Backend) -> bool:
        """Whether a model's chat template is told the time."""
        return self.now is not None and isinstance(backend, Rendering) and backend.asks_time

    def model(self, execution: Execution, name: str) -> Backend:
        """Find the back end of a model by its name, the first where the name is empty.

        Raises
        ------
        ParameterError
            If there is none.
        """
        found = self.backends.get(name) if name else next(iter(self.backends.values()))
        if found is None:
            raise ParameterError(f"there is no model {name!r}; there are {', '.join(self.backends)}")
        return found

    def called(self, request: Call) -> Method:
        """The method of a call."""
        return find(request.method) if isinstance(request.method, str) else request.method

    # The loop's parts

    def _pump(self) -> None:
        while self.ready:
            self.ready.popleft().pump()

    def _open(self, number: int, task: Task) -> None:
        method, problem, parameters = task
        sampling = dict(method.sampling) | self.sampling
        timed, struck, key = self.budget.seconds is not None or self._seconds is not None, False, b""
        if timed and self.journal is not None:
            identities = [backend.identity for backend in self.backends.values()]
            told = {name: _plain(value) for name, value in parameters.items()}
            place = problem.id, problem.prompt, problem.seed, method.name, told, sampling
            key = key_of("strike", identities, place, self.budget.as_dict(), self._seconds)
            struck = self.journal.find(key) is not None
        if self._over and not struck:
            struck = True
            self._note_strike(key, 0.0)
        root, ledger = Root(key, timed, struck), Ledger(replace(self.budget, seconds=None))
        generator = method(problem, **method.heeding(self.sampling, parameters))
        execution = Execution(self, root, problem, generator, sampling, self.sampling, ledger, Reader())
        execution.look_up(method, parameters)
        self._active.append(Active(number, task, execution, self._clock()))
        self.ready.append(execution)

    def _work(self) -> None:
        """Let the back ends and the sandbox work for a moment."""
        for backend in self.backends.values() if self._writing else ():
            for generation in backend.step():
                execution, done = self._writing.pop(generation)
                done(generation)
                self.ready.append(execution)
                self._tokens += len(generation.written.tokens) if generation.written else 0
        if self._progress is not None:
            self._progress(self._tokens)
        if self._running:
            ended, _ = wait(list(self._running), 0.0 if self._writing else 0.05, FIRST_COMPLETED)
            for future in ended:
                execution, complete, _ = self._running.pop(future)
                complete(future)
                self.ready.append(execution)
        self._strike()

    @property
    def _over(self) -> bool:
        """Whether all together have had their time."""
        return self._seconds is not None and self._clock() - self._began >= self._seconds

    def _note_strike(self, key: bytes, seconds: float) -> None:
        if self.journal is not None:
            self.journal.add(key, {"seconds": seconds})

    def _strike(self) -> None:
        """End what has had its time."""
        now, over = self._clock(), self._over
        for active in self._active:
            root, elapsed = active.execution.root, now - active.began
            own = self.budget.seconds is not None and elapsed >= self.budget.seconds
            if root.struck or not (own or over):
                continue
            root.struck = True
            self._note_strike(root.key, elapsed)
            active.execution.strike()
            self.ready.append(active.execution)

    def _result(self, active: Active) -> Result:
        execution, (method, problem, parameters) = active.execution, active.task
        cost = execution.ledger.spent._replace(seconds=self._clock() - active.began)
        value, why, error = execution.value, execution.conclusion or "failed", execution.error
        if not isinstance(value, Answer):
            why, error = "failed", TypeError(f"{method.name} returned {type(value).__name__}; expected an Answer")
            value = Answer(None)
        if why == "done" and (execution.spent or execution.root.struck):
            why = "spent"
        if why == "done" and value.answer is None and execution.mishap:
            why = "failed"
        trace = {
            "version": 1,
            "id": problem.id,
            "method": method.name,
            "parameters": dict(parameters),
            "sampling": {**method.sampling, **self.sampling},
            "seed": problem.seed,
            "prompt": problem.prompt,
            "now": None if execution.root.now is None else execution.root.now.isoformat(),
            "budget": self.budget.as_dict(),
            "answer": value.answer,
            "chosen": None if value.chosen is None else path(value.chosen.branch),
            "why": why,
            "cost": {name: figure for name, figure in cost.as_dict().items() if name != "seconds"},
            "nodes": execution.nodes,
        }
        caveats = tuple(dict.fromkeys([caveat for backend in self.backends.values() for caveat in backend.caveats]))
        text = execution.mishap if error is None else _told(error)
        return Result(problem.id, method.name, value, cost, why, text, trace, caveats)

    def _close(self) -> None:
        for active in self._active:
            active.execution.close()
        for backend in self.backends.values():
            backend.cancel(list(self._writing))
        self._active, self._writing = [], {}
        self.ready.clear()
        for backend in self.backends.values():
            backend.step()
        for *_, stop in self._running.values():
            stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def told_time(backends: Iterable[Backend]) -> datetime | None:
    """Return the time that chat templates are told, or None where none asks for it.

    Raises
    ------
    ParameterError
        If they are told different ones.
    """
    times = {one.now for one in backends if isinstance(one, Rendering) and one.asks_time}
    if len(times) > 1:
        told = " and ".join(sorted(time.isoformat() for time in times))
        raise ParameterError(f"the models of one run must be told one time, got {told}")
    return times.pop() if times else None


def read_text(file: str) -> str:
    """The text of a file.

    Raises
    ------
    FormatError
        If it cannot be read, is no text, or too large.
    """
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        raise FormatError(f"{file} cannot be read: {error}") from error
    if len(data) > LARGEST_FILE:
        raise FormatError(f"{file} has more than {LARGEST_FILE:,} bytes")
    return text


def _told(error: Exception) -> str:
    """An error in a line; of one that nobody raised on purpose also the place."""
    text = f"{type(error).__name__}: {error}"
    frames = extract_tb(error.__traceback__)
    if isinstance(error, IntactError) or not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def _no_scorer(name: str) -> Scorer:
    raise ParameterError(f"there is no scorer {name!r}: this driver was given none by name")


def _plain(parameter: Any) -> Any:
    """A parameter as JSON has it: a scorer by its name and digest."""
    return [parameter.name, parameter.digest] if hasattr(parameter, "score") else parameter
