"""Profiles of steps: what is counted is what the program asks for, and watching changes no bit."""

import numpy as np
import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.profile import MachineLimits, Record, measure_limits
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Attend, Linear
from support.tiny import write_tiny

TIERS = available_tiers()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "gemma3")))


def executor(program, profile="int8", threads=2):
    made = NativeExecutor(program, profile, threads=threads, page_size=16)
    made.reserve_pages(8)
    return made


def chunk(position, count, pages):
    return SequenceChunk(position, np.arange(5, 5 + count, dtype=np.int32), np.array(pages, np.int32))


def steps(runner):
    """A prompt of two chunks and a step of two sequences; the logits."""
    parts = [
        ([chunk(0, 20, [4, 1])], [19]),
        ([chunk(20, 3, [4, 1]), chunk(0, 2, [6])], [0, 4]),
        ([chunk(2, 1, [6])], [0]),
    ]
    return np.concatenate([runner.step(chunks, np.array(wanted)) for chunks, wanted in parts])


def by_name(runner):
    return {(record.kind, record.label): record for record in runner.profile_records()}


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_profiling_changes_no_bit(program, profile, threads):
    runner, watched = executor(program, profile, threads), executor(program, profile, threads)
    watched.profiling = True
    assert np.array_equal(steps(runner), steps(watched))
    records = watched.profile_records()
    assert sum(r.seconds for r in records) > 0
    assert all(0 <= r.waiting <= r.seconds for r in records)
    assert runner.profile_records() == []


@pytest.mark.native
def test_setting_it_forgets_what_was_noted(program):
    runner = executor(program)
    runner.profiling = True
    steps(runner)
    noted = runner.profile_records()
    runner.profiling = True
    assert runner.profiling
    assert all(r.macs == r.bytes == 0 and r.seconds == 0 for r in runner.profile_records())
    runner.step([chunk(0, 1, [0])], np.array([0]))
    assert 0 < by_name(runner)["linear", "ffn_down"].macs < {r[:2]: r for r in noted}["linear", "ffn_down"].macs
    runner.profiling = False
    runner.step([chunk(0, 1, [0])], np.array([0]))
    assert runner.profile_records() == []
    assert not runner.profiling


@pytest.mark.native
def test_products_are_counted_by_the_program_and_the_rows(program):
    runner = executor(program)
    runner.profiling = True
    steps(runner)
    records = runner.profile_records()
    # From the last attention on, only the rows whose logits are wanted.
    last = max(i for i, op in enumerate(program.ops) if isinstance(op, Attend))
    seen, wanted = [*range(1, 21), *range(21, 24), 1, 2, 3], [20, 21, 2, 3]
    products = sum(
        len(wanted if i > last else seen) * int(np.prod(program.tensors[t.weight].shape))
        for i, op in enumerate(program.ops)
        if isinstance(op, Linear)
        for t in op.targets
    )
    assert sum(r.macs for r in records if r.kind == "linear") == products
    pairs = sum(
        2 * op.heads * op.width * min(visible, op.window or visible)
        for i, op in enumerate(program.ops)
        if isinstance(op, Attend)
        for visible in (wanted if i == last else seen)
    )
    assert sum(r.macs for r in records if r.kind == "attention") == pairs
    outputs, inputs = program.tensors["token_embd.weight"].shape
    assert sum(r.macs for r in records if r.kind == "logits") == 4 * outputs * inputs


@pytest.mark.native
def test_layers_are_one_record(program):
    runner = executor(program)
    runner.profiling = True
    steps(runner)
    names = by_name(runner)
    assert len(names) == len(runner.profile_records())
    assert names["linear", "attn_q + attn_k + attn_v"].calls == names["gate", "gelu"].calls == 3 * program.layers
    assert names["embed", "token_embd"].calls == 3
    assert {kind for kind, _ in names} == {
        "embed", "norm", "quantise", "norm, quantise", "linear", "rope", "append", "attention",
        "gate", "logits", "rest",
    }  # fmt: skip


@pytest.mark.native
def test_weights_are_read_once_a_step(program):
    def moved(count):
        runner = executor(program)
        runner.profiling = True
        runner.step([chunk(0, count, [0])], np.array([0]))
        return by_name(runner)["linear", "ffn_down"].bytes

    one, two, three = (moved(count) for count in (1, 2, 3))
    assert three - two == two - one > 0
    weights = one - (two - one)
    packed = executor(program).description["weight_bytes"]
    assert 0 < weights < packed


def test_a_fraction_is_of_the_nearer_limit():
    record = Record("linear", "x", 1, 2.0, 300, 40, 0.0)
    assert MachineLimits(100.0, 100.0).fraction(record, threads=1) == 1.5
    assert MachineLimits(100.0, 100.0).fraction(record, threads=3) == 0.5
    assert MachineLimits(1e9, 100.0).fraction(record, threads=1) == 0.2
    assert MachineLimits(1.0, 1.0).fraction(record._replace(seconds=0.0), threads=1) == 0.0


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_limits_are_measured(tier):
    limits = measure_limits(tier, 2)
    assert limits.macs > 1e7
    assert limits.bytes > 1e7


def test_limits_of_an_unknown_tier_are_refused():
    with pytest.raises(ValueError, match="tier mmx is not available"):
        measure_limits("mmx", 1)
