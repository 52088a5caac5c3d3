"""The pool of threads: barriers hold everybody back, and a thread that fails ends the region, not the process."""

import os

import pytest

from intact._native import kernels
from intact.errors import ParameterError
from intact.executors.base import choose_pinned

pytestmark = pytest.mark.native


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_nobody_leaves_a_barrier_before_all_have_come(threads):
    assert kernels.meet(threads, regions=5, meetings=40) == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("after", [0, 1, 29])
def test_a_thread_that_runs_out_of_memory_is_an_error_of_the_call(threads, after):
    for thread in {0, threads - 1}:
        with pytest.raises(MemoryError):
            kernels.meet(threads, regions=3, meetings=30, failing=1, thread=thread, after=after)


@pytest.mark.parametrize("failing", [0, 2])
def test_regions_after_a_failure_meet_as_before(failing):
    assert kernels.meet(4, regions=6, meetings=20, failing=failing, thread=2, after=11, catching=True) == 0


def test_pinning_is_a_choice(monkeypatch):
    monkeypatch.delenv("INTACT_PIN", raising=False)
    assert choose_pinned() is False
    for value, wanted in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("INTACT_PIN", value)
        assert choose_pinned() is wanted
    monkeypatch.setenv("INTACT_PIN", "yes")
    with pytest.raises(ParameterError, match="INTACT_PIN must be 0 or 1, got 'yes'"):
        choose_pinned()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs processors that can be chosen")
def test_a_pinned_pool_meets_as_any(monkeypatch):
    before = os.sched_getaffinity(0)
    assert kernels.meet(3, regions=3, meetings=20, pinned=True) == 0
    assert os.sched_getaffinity(0) == before  # the caller's own thread goes where it likes
