"""The simulated star: sums by hand, and laws that hold for every network."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from intact.library.parallel.channel import HEADER
from intact.measure.planning.machines import MachineKind, Rates
from intact.measure.planning.step import simulate_step
from intact.measure.planning.work import RankWork, Segment, Transfer

RATES = Rates(1.0, *[0.0] * 8)
FAST = MachineKind("fast", 1, 10**9, RATES, latency=0.0, bandwidth=1e300)


def work(*macs, own=120, lacking=220, logits=20):
    return RankWork(tuple(Segment(one, 0, 0) for one in macs), (Transfer(own, lacking),) * (len(macs) - 1), logits, 20)


def test_one_machine_takes_the_sum_of_its_work():
    times = simulate_step([replace(FAST, rates=RATES._replace(step=5.0))], [RankWork((Segment(7, 0, 0),), (), 400, 84)])
    assert (times.seconds, times.busy, times.bytes) == (12.0, (12.0,), 0)


def test_each_exchange_waits_for_the_slowest_rank():
    times = simulate_step([FAST, FAST, FAST], [work(3, 5), work(4, 1), work(1, 9)])
    assert times.seconds == 4 + 5  # logits of header alone are not awaited: rank 0 ends with its own part
    with_logits = [work(3, 5, logits=100), work(4, 1, logits=100), work(1, 9, logits=100)]
    assert simulate_step([FAST, FAST, FAST], with_logits).seconds == 4 + 9
    assert times.busy == (8.0, 5.0, 10.0)


def test_latency_bandwidth_and_messages_by_hand():
    slow = replace(FAST, latency=10.0, bandwidth=2.0, rates=RATES._replace(message=0.5, copy=0.25, spoke=3.0, row=0.1))
    hub = replace(FAST, rates=RATES._replace(hub=2.0))
    times = simulate_step([hub, slow], [work(3, 5, own=30, lacking=40), work(4, 1, own=40, lacking=30)])
    plan = 20 / 2  # rank 0 sends the step
    arrived = plan + 10 + (0.5 + 20 * 0.25)  # the other has it
    ready = arrived + 4 + (0.5 + 40 * 0.25)  # its part, and sending its columns
    taken = max(plan + 3, ready + 10) + 40 / 2
    assert times.seconds == taken + 30 / 2 + 2 + 5
    assert times.busy == (3 + 2 + 5, 4 + 1 + 3 * 0.5 + (20 + 40 + 30) * 0.25 + 3 + (40 + 30 - 2 * HEADER.size) * 0.1)
    assert times.bytes == 20 + 40 + 30


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=5),
    st.floats(0, 10), st.floats(1, 1e6), st.integers(0, 4),
)  # fmt: skip
def test_a_worse_network_or_machine_never_makes_a_step_shorter(parts, latency, bandwidth, which):
    works = [work(*part, logits=90) for part in parts]
    kinds = [replace(FAST, latency=1.0, bandwidth=1e6)] * len(parts)
    before = simulate_step(kinds, works)
    which %= len(parts)
    worse = list(kinds)
    worse[which] = replace(
        kinds[0], latency=1.0 + latency, bandwidth=bandwidth, rates=RATES._replace(macs=1.5, message=0.1)
    )
    after = simulate_step(worse, works)
    assert after.seconds >= before.seconds
    assert after.bytes == before.bytes
    assert after.seconds >= max(after.busy[0], max(sum(part) for part in parts))
