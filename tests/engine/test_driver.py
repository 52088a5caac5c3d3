"""Many threads on one engine: turns come in order, every request ends with its own tokens, nobody waits for ever."""

import gc
import linecache
import sys
import threading
import time
import weakref
from collections import deque

import numpy as np
import pytest

from intact.engine.driver import EngineDriver, FairLock
from intact.engine.engine import Engine
from support.patience import PATIENCE
from support.tally import VOCABULARY, Tally, continued, request


def make(**settings):
    return Engine(Tally(), 400, **settings)


def prompt_of(seed, length):
    return np.random.default_rng(seed).integers(0, VOCABULARY, length).tolist()


def test_turns_come_in_the_order_of_asking():
    lock, order, threads = FairLock(), [], []

    def work(number):
        with lock:
            order.append(number)

    with lock:
        for number in range(5):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            while len(lock._queue) <= number + 1:
                time.sleep(0.001)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [0, 1, 2, 3, 4]


def test_one_thread_cannot_keep_the_turn_by_asking_again():
    lock, count, seen = FairLock(), [0], []

    def hog():
        while not seen:
            with lock:
                count[0] += 1

    thread = threading.Thread(target=hog)
    thread.start()
    while not count[0]:
        time.sleep(0.001)
    for _ in range(100):
        with lock:
            pass
    seen.append(True)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_what_a_collector_closes_in_the_midst_of_a_move_does_not_ask_for_the_turn():
    """Else it would wait for a lock that its own thread is about to have."""
    lock, seen = FairLock(), []

    class Collected(deque):
        """A queue in the middle of whose changes the garbage collector runs."""

        def append(self, place):
            seen.append(lock.unavailable)
            super().append(place)

        def remove(self, place):
            super().remove(place)
            seen.append(lock.unavailable)

    lock._queue = Collected()
    assert not lock.unavailable
    with lock:
        assert lock.unavailable
    assert seen == [True] * 2
    assert not lock.unavailable


def test_an_interrupt_at_any_line_of_a_turn_leaves_it_to_be_had():
    """But for the first line of leaving it, before which nothing can be done; at a `try` there is none in truth."""
    spared = FairLock.__exit__.__code__

    def use(lock, line):
        """Take the lock and leave it, interrupted at one of its lines; whether there is such a line."""
        left = line

        def trace(frame, event, _):
            nonlocal left
            if frame.f_code.co_filename != spared.co_filename:
                return None
            text = linecache.getline(spared.co_filename, frame.f_lineno).strip()
            if event == "line" and text != "try:" and not (frame.f_code is spared and text.startswith("waiter =")):
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            with lock:
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        return left <= 0

    line = 1
    while True:
        lock = FairLock()
        found = use(lock, line)
        assert not lock.locked, line
        with lock:
            assert lock.owned
        if not found:
            break
        line += 1
    assert line > 10


def test_a_turn_within_a_turn_is_refused():
    lock = FairLock()
    with lock, pytest.raises(RuntimeError, match="this thread already holds the engine"), lock:
        pass
    with lock:
        pass


def test_threads_share_steps_and_get_their_own_tokens():
    engine = make()
    driver, found = EngineDriver(engine), {}

    def ask(number):
        events: dict = {}
        added = request(prompt_of(number, 10 + number), [number], 30, events)
        with driver.lock:
            engine.add(added)
        driver.run(lambda: added.live == 0)
        found[number] = events

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(8):
        assert found[number][0] == continued(prompt_of(number, 10 + number), number, 30)
    assert engine.held == 0


class Loop:
    """An event loop that notes how often it was woken, and for how much."""

    def __init__(self, closed=False):
        self.woken, self.closed = [], closed

    def call_soon_threadsafe(self, task, tasks):
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.woken.append(len(tasks))
        task(tasks)


def test_all_that_a_step_tells_a_loop_wakes_it_once():
    driver, told = EngineDriver(make()), []
    loops = [Loop(closed=True), Loop(), Loop()]
    asked = []
    for i in range(12):
        asked.append(request(prompt_of(i, 3), [i], 5, {}))
        asked[-1].sink = lambda event, i=i: driver.notify(loops[i % 3], lambda: told.append((i, event.position)))
        asked[-1].ended = lambda *_, i=i: driver.notify(loops[i % 3], lambda: told.append((i, "end")))
    with driver.lock:
        for one in asked:
            driver.engine.add(one)
        for step in range(1, 4):
            driver.engine.step()
            assert loops[1].woken == loops[2].woken == [4] * step
        driver.engine.cancel(asked[1])  # between steps
    assert loops[1].woken == [4, 4, 4, 1]
    driver.run(lambda: not driver.engine.queue)
    assert loops[1].woken == [4, 4, 4, 1, 3, 6]  # last three tokens, and three ends
    assert loops[2].woken == [4, 4, 4, 4, 8]
    for i in (2, 5, 8, 11, 4, 7, 10):
        assert [what for who, what in told if who == i] == [3, 4, 5, 6, 7, "end"]
    assert [what for who, what in told if who == 1] == [3, 4, 5, "end"]


def test_an_engine_goes_with_its_last_user_and_waits_for_no_collector():
    gc.disable()
    try:
        driver = EngineDriver(make())
        left = weakref.ref(driver), weakref.ref(driver.engine)
        del driver
        assert [there() for there in left] == [None, None]
    finally:
        gc.enable()


def test_the_background_thread_works_what_is_posted_and_ends(monkeypatch):
    monkeypatch.setattr("intact.engine.driver.LINGER", 0.05)
    engine = make()
    driver = EngineDriver(engine)
    for lock in range(2):
        events: dict = {}
        done = threading.Event()
        added = request(prompt_of(lock, 12), [lock], 20, events)
        ended = added.ended
        added.ended = lambda *a, ended=ended, done=done: (ended(*a), done.set())
        driver.post(lambda added=added: engine.add(added))
        assert done.wait(PATIENCE)
        assert events[0] == continued(prompt_of(lock, 12), lock, 20)
        thread = driver._thread
        if thread is not None:
            thread.join(PATIENCE)
        assert driver._thread is None


def test_a_task_that_fails_does_not_end_the_background_thread():
    engine = make()
    driver = EngineDriver(engine)
    reached = threading.Event()

    def broken():
        raise OSError("posted nonsense")

    driver.post(broken)
    driver.post(reached.set)
    assert reached.wait(PATIENCE)


def test_what_another_thread_takes_over_is_still_worked(monkeypatch):
    """A thread that waits for its own request may queue what was posted for the background, and then go."""
    monkeypatch.setattr("intact.engine.driver.LINGER", 0.05)
    engine = make()
    driver, events = EngineDriver(engine), {}
    added = request(prompt_of(1, 12), [1], 20, events)
    step, first = engine.step, []

    def raced():
        rows = step()
        if not first:
            first.append(rows)
            driver.post(lambda: engine.add(added))
            driver._drain()
        return rows

    monkeypatch.setattr(engine, "step", raced)
    driver.post(lambda: None)
    deadline = time.monotonic() + PATIENCE
    while added.live and time.monotonic() < deadline:
        time.sleep(0.01)
    assert first == [0]
    assert events[0] == continued(prompt_of(1, 12), 1, 20)


def test_the_engine_can_be_had_alone(tmp_path):
    import intact
    from support.tiny import write_tiny

    model = intact.load(write_tiny(tmp_path / "tiny.gguf"), threads=1)
    alone = model.generate("some text", max_tokens=6, temperature=1.0)
    found = []
    with model.exclusive() as engine:
        thread = threading.Thread(
            target=lambda: found.append(model.generate("some text", max_tokens=6, temperature=1.0)), daemon=True
        )
        thread.start()
        time.sleep(0.05)
        assert engine.counters.steps == 6  # the other thread waits for its lock
    thread.join(PATIENCE)
    assert found == [alone]


def test_a_lock_that_nobody_waits_for_raises_nothing_inside():
    """An exception inside would be the context of every error in what the garbage collector closes meanwhile."""
    lock, raised = FairLock(), []

    def trace(frame, event, argument):
        if event == "exception":
            raised.append(argument[0])
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with lock:
            owned = lock.owned
        free = not lock.owned and not lock.unavailable
    finally:
        sys.settrace(before)
    assert (owned, free, raised) == (True, True, [])
