"""Plans: what fits is used, what does not is named, and no plan among those tried would be better."""

from dataclasses import replace

import pytest

from intact._base.errors import ParameterError
from intact.library.parallel.ranks import parse_ranks
from intact.measure.bench.shapes import ModelShape, random_checkpoint
from intact.measure.planning.machines import MachineKind, Rates
from intact.measure.planning.plan import Demand
from intact.measure.planning.search import PROCESS, choose_plan
from intact.measure.planning.ways import TensorParallel
from intact.measure.planning.work import ModelWork, StepRows
from intact.models import build_program

RATES = Rates(1e-11, 3e-11, 3e-6, message=15e-6, copy=5e-10, hub=3e-5, spoke=15e-6, row=5e-10, step=5e-4)
DEMAND = Demand(texts=4, context=256, length=64)


def work_of(shape):
    return ModelWork.of(build_program(random_checkpoint("small", shape=shape)))


@pytest.fixture(scope="module")
def work():
    return work_of(ModelShape("llama", 12, 512, 1536, 8, 4, 64, 4096, 1024, 1e4, False))


def kind(name="one", count=1, memory=10**10, speed=1.0, rates=RATES, **fields):
    own = Rates(*(rate / speed for rate in rates))
    return replace(MachineKind(name, count, memory, own, latency=2e-5, bandwidth=1.25e9), **fields)


def need(work):
    memory = work.memory(work.part((1,), 0))
    return memory.weights + DEMAND.texts * DEMAND.context * memory.position + PROCESS


def test_machines_that_hold_the_model_are_replicas_of_their_own(work):
    plan = choose_plan(work, [kind(count=5)], DEMAND)
    ((replica, count),) = plan.replicas
    assert (count, len(replica.ranks), plan.unused, plan.refused) == (5, 1, {}, {})
    assert plan.tokens == pytest.approx(5 * DEMAND.texts / replica.seconds)


def test_a_model_too_large_for_one_machine_is_cut(work):
    small = kind(count=4, memory=need(work) - 1)
    plan = choose_plan(work, [small], DEMAND)
    assert [len(replica.ranks) for replica, _ in plan.replicas] == [2]
    assert plan.replicas[0][1] == 2
    assert "needs" in plan.alone["one"]
    for replica, _ in plan.replicas:
        assert all(rank.needed <= rank.kind.memory for rank in replica.ranks)


def test_a_machine_with_little_memory_gets_a_smaller_share(work):
    whole = need(work) - PROCESS
    kinds = [kind("a", memory=int(0.8 * whole) + PROCESS), kind("b", memory=int(0.35 * whole) + PROCESS)]
    ((replica, _),) = choose_plan(work, kinds, DEMAND).replicas
    shares = {rank.kind.name: rank.share for rank in replica.ranks}
    assert shares["a"] > shares["b"]
    assert all(rank.needed <= rank.kind.memory for rank in replica.ranks)


def test_a_faster_machine_gets_a_larger_share_and_is_rank_0(work):
    memory = need(work) - 1
    ((replica, _),) = choose_plan(
        work, [kind("slow", memory=memory), kind("fast", memory=memory, speed=3)], DEMAND
    ).replicas
    assert [rank.kind.name for rank in replica.ranks] == ["fast", "slow"]
    assert replica.ranks[0].share / replica.ranks[1].share == pytest.approx(3, rel=0.05)


def test_what_does_not_fit_is_named_with_its_bytes(work):
    plan = choose_plan(work, [kind("tiny", count=2, memory=PROCESS + 10**6)], DEMAND)
    assert (plan.replicas, plan.expected, plan.unused) == ((), 0, {"tiny": 2})
    assert "of 2 machines, tiny needs" in plan.refused["tiny"]
    assert "of cache for 4 x 256 tokens); it has 0.21 GB" in plan.refused["tiny"]


def test_latency_takes_the_group_whose_step_is_the_shortest(work):
    kinds = [kind("a", count=4), kind("b", count=2, speed=0.05)]
    fastest = choose_plan(work, kinds, DEMAND, "latency")
    ((replica, count),) = fastest.replicas
    assert count == 1
    assert all(rank.kind.name == "a" for rank in replica.ranks)
    for degree in range(1, 5):
        times = TensorParallel(work).times(kinds[:1] * degree, (1,) * degree, StepRows(4, 1, 128))
        assert replica.seconds <= times.seconds
    slow_network = [replace(one, latency=0.1) for one in kinds]
    ((alone, _),) = choose_plan(work, slow_network, DEMAND, "latency").replicas
    assert len(alone.ranks) == 1


def test_failures_cost_time_and_texts(work):
    steady = choose_plan(work, [kind(count=3)], DEMAND)
    failing = choose_plan(work, [kind(count=3, hours_between_failures=1.0, restart=360.0)], DEMAND)
    (replica, _), tokens = failing.replicas[0], steady.tokens
    assert replica.available == pytest.approx(1 / 1.1)
    lost = 3 * 4 * 32 / 3600  # of three machines, each hour, half of four texts of 64 tokens
    assert failing.expected == pytest.approx((tokens - lost) / 1.1)
    assert steady.expected == pytest.approx(tokens)


def test_a_model_that_cannot_be_cut_runs_whole_where_it_fits():
    experts = work_of(ModelShape("qwen3moe", 2, 64, 96, 4, 2, 32, 300, 256, 1e4, False, 6, 2, 64))
    plan = choose_plan(experts, [kind(count=3)], DEMAND)
    assert [(len(replica.ranks), count) for replica, count in plan.replicas] == [(1, 3)]
    refused = choose_plan(experts, [kind(count=3, memory=PROCESS)], DEMAND)
    assert "tensor parallel: tensor parallel runs no mixtures of experts" in refused.refused["one"]
    assert "pipeline parallel: 2 layers cannot be divided between 3 processes" in refused.refused["one"]


def test_what_tensor_parallel_cannot_cut_a_pipeline_may():
    experts = work_of(ModelShape("qwen3moe", 6, 256, 96, 4, 2, 32, 300, 256, 1e4, False, 6, 2, 64))
    ((replica, count),) = choose_plan(experts, [kind(count=4, memory=need(experts) - 1)], DEMAND).replicas
    assert (len(replica.ranks), replica.way, count) == (2, "pipeline", 2)
    assert all(rank.needed <= rank.kind.memory for rank in replica.ranks)
    assert replica.prompt > 0


def test_the_network_chooses_the_way(work):
    """Few and long exchanges suit slow networks; a token of a pipeline waits for all layers."""
    memory = need(work) - 1
    rates = Rates(*RATES[:2], 0, 0, 0, 0, 0, 0, RATES.step)
    for latency, way in ((1e-6, "tensor"), (1e-2, "pipeline")):
        machines = kind(count=2, memory=memory, latency=latency, rates=rates, bandwidth=1e12)
        ((replica, _),) = choose_plan(work, [machines], DEMAND).replicas
        assert replica.way == way
        times = TensorParallel(work).times([machines] * 2, (1, 1), StepRows(4, 1, 128))
        assert replica.seconds <= times.seconds


def test_shares_are_such_as_tensor_parallel_takes(work):
    ((replica, _),) = choose_plan(work, [kind(count=2), kind("b", speed=0.37)], DEMAND, "latency").replicas
    text = ",".join(["here*" + str(replica.ranks[0].share), *(f"local*{rank.share}" for rank in replica.ranks[1:])])
    assert [rank.share for rank in parse_ranks(text)] == [rank.share for rank in replica.ranks]


@pytest.mark.parametrize("demand", [Demand(0), Demand(1, 0), Demand(1, 16, 17)])
def test_a_demand_that_is_none_is_refused(work, demand):
    with pytest.raises(ParameterError, match="at least 1, and length must not exceed context"):
        choose_plan(work, [kind()], demand)
