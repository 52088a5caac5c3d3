"""The pool of threads: barriers hold everybody back, a thread that fails ends the region, not the process, and shared
work is done once by whoever has time."""

import os

import pytest

from intact._base.errors import ParameterError
from intact._native import kernels
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


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize(("total", "least"), [(0, 1), (1, 1), (36, 14), (100, 3), (3072, 2), (1000, 64)])
def test_every_part_of_a_shared_work_is_taken_once(threads, total, least):
    pieces = sorted(piece for mine in kernels.pieces(threads, total, least) for piece in mine)
    assert [begin for begin, _ in pieces] == [0, *(end for _, end in pieces)][: len(pieces)]
    assert pieces[-1][1] == total if total else not pieces
    if threads == 1:
        assert len(pieces) <= 1
    elif total >= 4 * threads * least:
        assert all(begin % least == 0 for begin, _ in pieces)
    else:  # a range of up to four times `least` goes to its owner, after at most two pieces that others took
        assert len(pieces) <= 3 * threads


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_what_a_thread_that_is_held_up_leaves_others_do(threads):
    pieces = kernels.pieces(threads, 1000, 2, held=threads - 1)
    assert pieces[-1] == []
    assert sum(end - begin for mine in pieces for begin, end in mine) == 1000
    own = 500 * (threads - 1) // threads * 2  # where the range of the one that is held up begins
    stolen = sorted(piece for mine in pieces for piece in mine if piece[0] >= own)
    sizes = [end - begin for begin, end in stolen]
    assert sizes == sorted(sizes), "the larger pieces are taken first, from the back"
    assert sizes[0] <= 2
    assert sizes[-1] >= (1000 - own) // 2 - 2


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_a_thread_begins_with_its_own_range_and_goes_on_in_order(threads):
    for thread, mine in enumerate(kernels.pieces(threads, 7000, 1)):
        own = [piece for piece in mine if 7000 * thread // threads <= piece[0] < 7000 * (thread + 1) // threads]
        assert mine[: len(own)] == own  # what it takes from others comes after
        assert own == sorted(own)


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
