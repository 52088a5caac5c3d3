"""The driver: runs many jobs at once, collects the requests of their methods, and returns the results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from inspect import isgenerator
from pathlib import Path
from threading import Event
from traceback import extract_tb
from typing import Any, Final, NamedTuple

from intact._base.errors import IntactError, NoRoomError, ParameterError
from intact._base.suggest import unknown_name
from intact.reason.backends.base import Backend, Generation, Rendering
from intact.reason.budget import Budget, Ledger
from intact.reason.driving.execution import DEFAULTS, Execution
from intact.reason.driving.journal import Journal, key_of
from intact.reason.driving.running import ExecutionInterface
from intact.reason.driving.services import MethodJob, Root, Services
from intact.reason.driving.writing import ReadTexts
from intact.reason.problem import Answer, Result, path
from intact.reason.thinking import ThoughtCap, common_thinking, with_capped_thoughts

VERSION: Final = 3
"""Version of the request-serving rules (places, draws, races, budgets, costs); see `intact.solving.receipts.versions`.
"""
PARALLEL = 64
"""Maximum number of problems in progress at a time."""
ENOUGH = 256
"""Number of completions in progress at or above which no further problem is started."""


class Active(NamedTuple):
    """A job in progress: its number among the driver's jobs, and its start time."""

    number: int
    job: MethodJob
    execution: Execution
    began: float


class Driver:
    """Serve the requests of methods. A result depends only on the requests, not on timing or on what else is running.

    Parameters
    ----------
    backends : mapping of str to Backend
        The models by name; requests without a model name use the first.
    journal : Journal, optional
        Store in which results are recorded and looked up.
    budget : Budget, optional
        Budget of each problem.
    sampling : mapping, optional
        The user's sampling parameters, used where a request gives none: fields of `Extend`.
    services : Services, optional
        External services for methods: files, programs, scorers; by default `Services`, which has no named scorers.
    parallel : int
        Maximum number of problems in progress at a time.
    seconds : float, optional
        Wall-time limit for all jobs together.
    progress : callable, optional
        Called after each round with the number of tokens generated so far. An exception raised in it ends the run.
    watch : callable, optional
        Called as the trees of completions grow: with "begin" and the branch and parent of a completion that is being
        generated, or with "node" and an entry of the trace. The timing and order of calls are not deterministic.
    clock : callable
        Returns the time in seconds; only time limits and reported times depend on it.

    Attributes
    ----------
    now : datetime or None
        The time passed to chat templates; None if no model's template needs it.
    thinking : ThinkingMode or None
        The models' thinking mode; None if it is not set.
    written : int
        Number of tokens generated so far.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        journal: Journal | None = None,
        budget: Budget | None = None,
        sampling: Mapping[str, Any] | None = None,
        services: Services | None = None,
        parallel: int = PARALLEL,
        seconds: float | None = None,
        progress: Callable[[int], None] | None = None,
        watch: Callable[[str, Mapping[str, Any]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backends, self.journal = dict(backends), journal
        self.now, self.thinking = template_time(backends.values()), common_thinking(backends.values())
        self.budget, self.sampling, self.parallel = budget or Budget(), dict(sampling or {}), parallel
        self.services = services or Services()
        self.ready: deque[ExecutionInterface] = deque()
        self._clock, self._seconds, self._began = clock, seconds, clock()
        self._writing: dict[Generation, tuple[ExecutionInterface, Callable[[Generation], None]]] = {}
        self._running: dict[Future[Any], tuple[ExecutionInterface, Callable[[Future[Any]], None], Event]] = {}
        self._progress, self.written, self.watch = progress, 0, watch
        self._active: list[Active] = []

    def solve(self, jobs: Iterable[MethodJob]) -> Generator[tuple[int, Result], None, None]:
        """Run jobs, and yield the number and result of each as it finishes. Closing the generator cancels the rest."""
        waiting = enumerate(jobs)
        self._pool = ThreadPoolExecutor(2, "intact-run")  # starts no thread before there is work
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

    # Methods used by executions

    def start(
        self,
        execution: ExecutionInterface,
        backend: Backend,
        generations: Sequence[Generation],
        done: Callable[[Generation], None],
    ) -> None:
        """Have a back end write completions, and call `done` with each finished one."""
        self.services.begin_texts(execution.root, generations)
        backend.start(generations)
        for generation in generations:
            self._writing[generation] = execution, done

    def run_work(
        self,
        execution: ExecutionInterface,
        known: Any,
        work: Callable[[Event], Any],
        done: Callable[[Future[Any]], None],
    ) -> None:
        """Run work in a thread, unless its result is known; `work` receives an event that tells it to end early."""
        if known is not None:
            future: Future[Any] = Future()
            future.set_result(known)
            done(future)
            return
        stop = Event()
        self._running[self._pool.submit(work, stop)] = execution, done, stop

    def end_work(self, execution: ExecutionInterface) -> None:
        """Stop an execution's work in threads, and cancel work that has not started."""
        for future, (whose, done, stop) in list(self._running.items()):
            if whose is execution:
                stop.set()
                if future.cancel():
                    del self._running[future]
                    done(future)
                    self.ready.append(execution)

    def needs_time(self, backend: Backend) -> bool:
        """Return true if a model's chat template is given the time."""
        return self.now is not None and isinstance(backend, Rendering) and backend.needs_time

    def model(self, execution: ExecutionInterface, name: str) -> Backend:
        """Look up the back end of a model as `find_model` does, and record that the execution uses it."""
        found = self.find_model(name)
        if name:
            self.services.note_model(execution.root, name)
        return found

    def find_model(self, name: str) -> Backend:
        """Look up the back end of a model by name; an empty name means the first.

        Raises
        ------
        ParameterError
            If no model has this name.
        """
        found = self.backends.get(name) if name else next(iter(self.backends.values()))
        if found is None:
            also = f"; --with {name:.60}=MODEL adds it (in Python: a mapping of models by name)"
            raise ParameterError(unknown_name(f"no model named {name!r:.60}", str(name), self.backends, also=also))
        return found

    def capped(self, steps: Any, sampling: Mapping[str, Any]) -> Any:
        """Wrap the steps of a method so that they respect the cap on thinking, if there is one."""
        if self.thinking is None or self.thinking.budget is None or not isgenerator(steps):
            return steps

        def cap_of(name: str) -> ThoughtCap | None:
            return getattr(self.backends.get(name) if name else next(iter(self.backends.values())), "thought_cap", None)

        return with_capped_thoughts(steps, cap_of, sampling.get("max_tokens") or DEFAULTS["max_tokens"])

    # The parts of the loop

    def _pump(self) -> None:
        while self.ready:
            self.ready.popleft().pump()

    def _open(self, number: int, job: MethodJob) -> None:
        job = self.services.admit(job)
        method, problem, parameters = job
        sampling = dict(method.sampling) | self.sampling
        timed, timed_out, key = self.budget.seconds is not None or self._seconds is not None, False, b""
        if timed and self.journal is not None:
            identities = [backend.identity for backend in self.backends.values()]
            plain = {name: _plain(value) for name, value in parameters.items()}
            place = problem.id, problem.prompt, problem.seed, method.name, plain, sampling
            key = key_of("strike", identities, place, self.budget.as_dict(), self._seconds)
            timed_out = self.journal.find(key) is not None
        if self._over and not timed_out:
            timed_out = True
            self._note_timeout(key, 0.0)
        root, ledger = Root(key, timed, timed_out), Ledger(replace(self.budget, seconds=None))
        generator = self.capped(method(problem, **method.with_sampling(self.sampling, parameters)), sampling)
        reader, options = ReadTexts(), self.sampling
        execution = Execution(
            self, root, problem, generator, sampling=sampling, options=options, ledger=ledger, reader=reader
        )
        execution.needs = execution.look_up(method, parameters)
        self._active.append(Active(number, job, execution, self._clock()))
        self.ready.append(execution)

    def _work(self) -> None:
        """Run one round of the back ends, and collect finished work from the sandbox."""
        for backend in self.backends.values() if self._writing else ():
            for generation in backend.step():
                execution, done = self._writing.pop(generation)
                self.services.end_text(execution.root, backend, generation)
                done(generation)
                self.ready.append(execution)
                self.written += len(generation.written.tokens) if generation.written else 0
        if self._running:
            ended, _ = wait(list(self._running), 0.0 if self._writing else 0.05, FIRST_COMPLETED)
            for future in ended:
                execution, complete, _ = self._running.pop(future)
                complete(future)
                self.ready.append(execution)
        if self._progress is not None:
            self._progress(self.written)
        self._time_out()

    @property
    def _over(self) -> bool:
        """If true, the time limit for all jobs together has passed."""
        return self._seconds is not None and self._clock() - self._began >= self._seconds

    def _note_timeout(self, key: bytes, seconds: float) -> None:
        if self.journal is not None:
            self.journal.add(key, {"seconds": seconds})

    def _time_out(self) -> None:
        """Time out the jobs whose time limit has passed."""
        now, over = self._clock(), self._over
        for active in self._active:
            root, elapsed = active.execution.root, now - active.began
            own = self.budget.seconds is not None and elapsed >= self.budget.seconds
            if root.timed_out or not (own or over):
                continue
            root.timed_out = True
            self._note_timeout(root.key, elapsed)
            active.execution.time_out()
            self.ready.append(active.execution)

    def _result(self, active: Active) -> Result:
        execution, (method, problem, parameters) = active.execution, active.job
        cost = execution.ledger.spent._replace(seconds=self._clock() - active.began)
        value, why, error = execution.value, execution.conclusion or "failed", execution.error
        if not isinstance(value, Answer):
            why, error = "failed", TypeError(f"{method.name} returned {type(value).__name__}; expected an Answer")
            value = Answer(None)
        if why == "done" and (execution.spent or execution.root.timed_out):
            why = "spent"
        text_error = execution.text_error or execution.prompt_error
        unasked = isinstance(error, NoRoomError)
        if value.answer is None and text_error and (why == "done" or unasked):
            why, error = "failed", None if unasked else error
        trace = {
            "version": 1,
            "id": problem.id,
            "method": method.name,
            "parameters": dict(parameters),
            "sampling": {**method.sampling, **self.sampling},
            "seed": problem.seed,
            "prompt": problem.prompt,
            "now": None if execution.root.now is None else execution.root.now.isoformat(),
            **({} if execution.root.thinking is None else {"thinking": str(execution.root.thinking)}),
            "budget": self.budget.as_dict(),
            "answer": value.answer,
            "chosen": None if value.chosen is None else path(value.chosen.branch),
            "why": why,
            "cost": {name: figure for name, figure in cost.as_dict().items() if name != "seconds"},
            "nodes": execution.nodes,
        }
        caveats = tuple(dict.fromkeys([caveat for backend in self.backends.values() for caveat in backend.caveats]))
        text = text_error if error is None else _in_a_line(error)
        result = Result(problem.id, method.name, value, cost, why=why, error=text, trace=trace, caveats=caveats)
        return self.services.finish(execution.root, active.job, result)

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
        self._pool.shutdown(wait=True, cancel_futures=True)


def template_time(backends: Iterable[Backend]) -> datetime | None:
    """Return the time passed to chat templates, or None if no template needs it.

    Raises
    ------
    ParameterError
        If the back ends have different times.
    """
    times = {one.now for one in backends if isinstance(one, Rendering) and one.needs_time}
    if len(times) > 1:
        found = " and ".join(sorted(time.isoformat() for time in times))
        raise ParameterError(f"all chat templates of a run must get the same time, got {found}")
    return times.pop() if times else None


def _in_a_line(error: Exception) -> str:
    """Format an error on one line; an unexpected one includes its location in the code."""
    text = f"{type(error).__name__}: {error}"
    frames = extract_tb(error.__traceback__)
    if isinstance(error, IntactError) or not frames:
        return text
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def _plain(parameter: Any) -> Any:
    """Return a parameter as a JSON value; a scorer becomes its name and digest."""
    return [parameter.name, parameter.digest] if hasattr(parameter, "score") else parameter
