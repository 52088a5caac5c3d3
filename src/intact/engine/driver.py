"""One engine for many threads and coroutines: whoever waits for tokens runs steps, under a fair lock."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakSet

from intact._base.errors import ModelError
from intact.engine.engine import Engine

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_LOG = logging.getLogger("intact")
LINGER = 2.0  # seconds that the background thread waits for more to do before it ends


class _Waiter:
    """A thread in the queue for a lock; `granted` is released when it comes first."""

    def __init__(self) -> None:
        self.thread, self.granted = threading.get_ident(), threading.Lock()
        self.granted.acquire()


class FairLock:
    """A lock that serves threads in order of arrival; Python's own may go to one thread again and again.

    The first in the queue holds it. Entering and leaving the queue are one operation each, so that no interrupt can
    leave them half done, and granting the lock to the first is always right, so that it may happen twice.

    Attributes
    ----------
    broken : bool
        If true, nobody can have it: a fork caught the engine in a step.
    closed : str
        The message of the error for whoever wants it after the engine was closed.
    """

    def __init__(self) -> None:
        self._queue: deque[_Waiter] = deque()
        self._changing = set[int]()  # threads that are acquiring or releasing the lock
        self.broken = False
        self.closed = ""

    @property
    def owned(self) -> bool:
        """True if this thread holds the lock."""
        first = self._first
        return first is not None and first.thread == threading.get_ident()

    @property
    def unavailable(self) -> bool:
        """True if this thread cannot wait for the lock: it holds it, or is acquiring or releasing it.

        The garbage collector may run in the midst of either, and close a stream that needs the lock.
        """
        return self.owned or threading.get_ident() in self._changing

    @property
    def locked(self) -> bool:
        """True if any thread holds it."""
        return bool(self._queue)

    def check(self) -> None:
        """Raise if the engine was closed, or a fork caught it in a step."""
        if self.closed:
            raise ModelError(self.closed)
        if self.broken:
            raise RuntimeError(
                "this process was forked while the model was at work: load it here, or fork when it has nothing to do"
            )

    def __enter__(self) -> None:
        self.check()
        if self.owned:
            raise RuntimeError(
                "the engine is in use by this very thread, inside `exclusive` or in a sink, which cannot start "
                "another request: leave it first"
            )
        waiter = _Waiter()
        try:
            try:
                self._changing.add(waiter.thread)
                self._queue.append(waiter)
                if self._first is not waiter:
                    waiter.granted.acquire()
            finally:
                self._changing.discard(waiter.thread)
        except BaseException:  # interrupted: leave the queue, or pass on the lock if it has just come
            self._leave(waiter)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        waiter = self._queue[0]
        try:
            try:
                self._changing.add(waiter.thread)
                self._leave(waiter)
            finally:
                self._changing.discard(waiter.thread)
        except BaseException:  # interrupted: the next must get the lock nevertheless
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter) -> None:
        with suppress(ValueError):  # it has left
            self._queue.remove(waiter)
        first = self._first
        if first is not None:
            with suppress(RuntimeError):  # it is granted already
                first.granted.release()

    @property
    def _first(self) -> _Waiter | None:
        queue = self._queue
        if not queue:  # an IndexError would be the context of errors in what the garbage collector closes meanwhile
            return None
        try:
            return queue[0]
        except IndexError:  # another thread has just left
            return None


class EngineDriver:
    """Makes one engine serve many threads and coroutines. All its methods may be called from any of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._notifications: dict[AbstractEventLoop, list[Callable[[], None]]] = {}
        self._set_up()
        engine.after = partial(_deliver, self._notifications)  # not of `self`: an engine must not keep its driver alive
        _DRIVERS.add(self)

    def _set_up(self) -> None:
        self.lock = FairLock()
        self._posted: deque[tuple[Callable[[], None], bool]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._requested = self._stopped = False

    def forked(self) -> None:
        """Continue in a process that was forked, where no other thread is."""
        broken = self.lock.locked and self.engine.busy
        lasting = [(task, True) for task, stays in self._posted if stays]
        self._set_up()
        self._posted += lasting
        self._notifications.clear()
        self.lock.broken = broken

    def close(self, message: str) -> None:
        """End all requests, and every later use of the engine, with a ModelError. A step that runs is waited for."""
        with self.lock:
            with self._wake:  # what was posted before runs now, and nothing can be posted any more
                self.lock.closed = message
            self._drain()
            self.engine.close(ModelError(message))
        self.stop()

    def stop(self) -> None:
        """End the background thread after its step: the interpreter is about to end."""
        with self._wake:
            self._stopped, thread = True, self._thread
            self._wake.notify()
        if thread is not None:
            thread.join(LINGER)

    def run(self, done: Callable[[], bool]) -> None:
        """Step, alternating with other threads, until `done`."""
        while not done():
            with self.lock:
                self._drain()
                idle = not done() and not self.engine.step()
            if idle:
                time.sleep(0.001)  # another thread must act first

    def post(self, task: Callable[[], None], lasting: bool = False) -> None:
        """Run a task between steps in the background thread, which then steps as long as the engine is busy.

        A `lasting` task also runs in a process that is forked before it ran.
        """
        with self._wake:
            self.lock.check()
            self._posted.append((task, lasting))
            self._requested = True  # also if another thread runs it
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_until_closed, name="intact-engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    def notify(self, loop: AbstractEventLoop, task: Callable[[], None]) -> None:
        """Run a task in an event loop once the step is over; for sinks, and others that hold the lock.

        All notifications of a step wake the loop once. Each wake-up takes a system call, and Python's lock from the
        thread that steps.
        """
        self._notifications.setdefault(loop, []).append(task)

    def _drain(self) -> None:
        while self._posted:
            try:
                self._posted.popleft()[0]()
            except Exception:  # another thread posted it
                _LOG.exception("a task for the engine failed")

    def _work_until_closed(self) -> None:
        with suppress(ModelError):  # the lock's: steps that fail are seen to
            self._work()

    def _work(self) -> None:
        while not self._stopped:
            self._requested = False
            with self.lock:
                if self._stopped:
                    return
                self._drain()
                try:
                    rows = self.engine.step()
                except Exception as error:  # those that wait must get the error
                    _LOG.exception("a step failed")
                    self.engine.close(error)
                    rows = 0
            if rows:
                continue
            with self._wake:
                if self._requested or self._stopped:
                    continue
                if not self._wake.wait(LINGER) and not self._requested:
                    self._thread = None
                    return


def _deliver(notifications: dict[AbstractEventLoop, list[Callable[[], None]]]) -> None:
    while notifications:
        loop, tasks = notifications.popitem()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_do, tasks)


def _do(tasks: list[Callable[[], None]]) -> None:
    for task in tasks:
        task()


_DRIVERS = WeakSet[EngineDriver]()


@atexit.register
def _stop() -> None:
    for driver in list(_DRIVERS):
        driver.stop()


def _forked() -> None:
    for driver in list(_DRIVERS):
        driver.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
