"""Pipeline parallel: the same texts and receipts as in one process, whatever the stages; and stages that are lost."""

import os
import signal
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread, Timer
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import intact
from intact._base.errors import ParameterError, WorkerError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.base import Exchanger, Executor
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.library import Model
from intact.library.parallel.channel import Channel
from intact.library.parallel.pipeline import (
    MOST_ROWS,
    LocalStage,
    Pipeline,
    PipelineExecutor,
    Work,
    divide_layers,
    split,
    stage_step,
)
from intact.library.parallel.plan import StepPlan
from intact.library.parallel.shard import listen_at, serve_shard
from intact.models import Program, build_program
from intact.models.aspects.cutting import Part
from intact.models.aspects.step import SequenceChunk
from intact.models.layers import outer_program, segments
from intact.numerics.kv_codecs import CODECS
from support.architectures import WHOLE, divisible
from support.child import in_child
from support.folders import write_folder
from support.models import real_model
from support.ranks import Make, Step, run_steps
from support.tiny import write_tiny
from support.variants import VARIANTS

DEEP = 4
"""Layers of the models here, but those of real ones."""
PROMPTS = ["one two three", "one two three four", "a", "one two three, and a longer one that takes several chunks"]
SLOW = pytest.mark.slow


def texts(model: Model, **options: Any) -> list[tuple[str, bytes]]:
    """Texts and receipts: sampled, several of a prompt (forks), prompts that begin alike, and a greedy one."""
    found = model.generate(PROMPTS, n=3, max_tokens=12, temperature=1.0, seed=5, receipt=True, **options)
    found += model.generate(PROMPTS[:1], max_tokens=12, receipt=True, **options)
    return [(one.text, one.receipt.encode()) for several in found for one in several if one.receipt is not None]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("stages") / "m.gguf", "qwen3", layers=DEEP)


@pytest.fixture(scope="module")
def whole(path: Path) -> list[tuple[str, bytes]]:
    with intact.load(path, threads=2) as model:
        return texts(model)


class Stages:
    """The stages of a program in this process, as an executor of its steps."""

    def __init__(self, program: Program, make: Make, shares: Sequence[int], part_rows: int) -> None:
        self.stages = [LocalStage(program, layers, make) for layers in divide_layers(program, shares)]
        self.pipeline = Pipeline(self.stages[0], self.stages[1:], part_rows)
        self.outer = make(outer_program(program), self.pipeline.exchange)
        self.outer.reserve_pages(8)

    def reserve_pages(self, count: int) -> None:
        for stage in self.stages:
            stage.executor.reserve_pages(count)

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        self.pipeline.work = Work(chunks, wanted)
        tokens = np.concatenate([chunk.tokens for chunk in chunks])
        return self.outer.step([SequenceChunk(0, tokens, np.arange(8, dtype=np.int32))], wanted)

    def close(self) -> None:
        self.pipeline.close()
        for executor in (self.outer, *(stage.executor for stage in self.stages)):
            executor.close()


def steps(trees: bool = True) -> list[Step]:
    """A prompt; a row after it; a batch, perhaps with a tree of drafts; unordered rows twice; nothing wanted."""
    pages, others = np.arange(4, dtype=np.int32), np.arange(4, 8, dtype=np.int32)
    tree = np.array([-1, 0, 0, 2], np.int32) if trees else None
    drafts = SequenceChunk(41, np.array([5, 7, 8, 11], np.int32), pages, tree)
    return [
        ([SequenceChunk(0, np.arange(3, 43, dtype=np.int32), pages)], np.array([39])),
        ([SequenceChunk(40, np.array([9], np.int32), pages)], np.array([0])),
        ([drafts, SequenceChunk(0, np.arange(50, 71, dtype=np.int32), others)], np.array([2, 24])),
        ([SequenceChunk(21, np.array([6, 7], np.int32), others)], np.array([1, 0, 1])),
        ([SequenceChunk(23, np.array([6, 7], np.int32), others)], np.zeros(0, np.int64)),
        ([SequenceChunk(25, np.array([6, 9], np.int32), others)], np.array([0, 1])),
    ]


def native(profile: str = "int8", tier: str | None = None, threads: int = 1) -> Make:
    def make(program: Program, exchange: Exchanger | None) -> Executor:
        return NativeExecutor(program, profile, threads, tier, exchange=exchange)

    return make


def reference(program: Program, exchange: Exchanger | None) -> Executor:
    return ReferenceExecutor(program, exchange=exchange)


def assert_same(program: Program, make: Make, shares: Sequence[int], part_rows: int = 64, **options: Any) -> None:
    with closing(make(program, None)) as executor:
        trees = executor.trees
    which = steps(trees, **options)
    expected = run_steps(make(program, None), which)
    found = run_steps(Stages(program, make, shares, part_rows), which)  # type: ignore[arg-type]
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert np.array_equal(a, b) or not len(a), i


def program_of(path: Path) -> Program:
    return build_program(open_checkpoint(path))


@pytest.mark.native
@pytest.mark.parametrize(
    ("shares", "part_rows"), [((1,), 64), ((1, 1), 7), ((3, 1), 64), ((1, 2, 1), 1), ((1,) * 4, 9)]
)
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=SLOW)])
def test_stages_give_the_same_logits(threads: int, shares: tuple[int, ...], part_rows: int, path: Path) -> None:
    assert_same(program_of(path), native(threads=threads), shares, part_rows)


@pytest.mark.native
@pytest.mark.parametrize("architecture", divisible())
def test_stages_of_every_architecture_give_the_same_logits(architecture: str, tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "m.gguf", architecture))
    assert_same(program, native(), (1,) * min(2, len(segments(program).layers)), 16)


@pytest.mark.native
@pytest.mark.parametrize("architecture", WHOLE)
def test_layers_that_hand_on_more_than_the_stream_are_not_divided(architecture: str, tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "m.gguf", architecture))
    with pytest.raises(ParameterError, match=f"a layer of {architecture} reads .* from the previous layer"):
        divide_layers(program, (1, 1))


@pytest.mark.native
def test_gemma_4_is_divided_where_its_layers_share_nothing(tmp_path: Path) -> None:
    program = program_of(write_folder(tmp_path, VARIANTS["gemma4-moe"], "gemma4-moe"))
    assert_same(program, native(), (1, 1, 1), 16)


@pytest.mark.native
@pytest.mark.parametrize(
    "profile",
    [
        *("fp32", "int4", "int8_row", "mxfp8", "int8+teal50", "int8+wina50"),
        *(f"int8+kv-{codec}" for codec in CODECS),
    ],
)
def test_stages_of_every_profile_give_the_same_logits(profile: str, path: Path) -> None:
    assert_same(program_of(path), native(profile), (1, 1), 16)


@pytest.mark.native
@pytest.mark.parametrize("tier", available_tiers())
def test_stages_on_every_tier_give_the_same_logits(tier: str, path: Path) -> None:
    assert_same(program_of(path), native(tier=tier, threads=1), (1, 3), 16)


@pytest.mark.native
def test_stages_of_different_tiers_agree(path: Path) -> None:
    held = available_tiers()
    program, tiers = program_of(path), [held[0], "scalar", held[len(held) // 2], held[0]]

    def make(part: Program, exchange: Exchanger | None) -> Executor:
        return NativeExecutor(part, "int8", 2, tiers.pop(), exchange=exchange)

    expected = run_steps(NativeExecutor(program, "int8", 2), steps())
    found = run_steps(Stages(program, make, (1, 1, 1), 16), steps())  # type: ignore[arg-type]
    assert all(np.array_equal(a, b) or not len(a) for a, b in zip(expected, found, strict=True))
    assert not tiers


def test_the_reference_runs_stages(tmp_path: Path) -> None:
    assert_same(program_of(write_tiny(tmp_path / "m.gguf", "qwen3")), reference, (1, 1), 16)


def test_each_stage_has_its_layers_and_their_cache_alone(path: Path) -> None:
    program = program_of(path)
    stages = Stages(program, native(), (3, 1), 64)
    with closing(NativeExecutor(program)) as executor:
        pages = [stage.executor.page_bytes for stage in stages.stages]
        assert pages == [executor.page_bytes * 3 // 4, executor.page_bytes // 4]
        parts = [stages.outer, *(stage.executor for stage in stages.stages)]
        zeros = 2 * 32 * 96  # the stages' heads of zeros take less
        held = sum(int(str(part.description["weight_bytes"])) for part in parts)
        whole = int(str(executor.description["weight_bytes"]))
        assert whole <= held <= whole + zeros
    stages.close()


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 12),
    st.lists(st.integers(0, 200), max_size=9),
)
def test_parts_of_a_step_cover_its_rows_in_order(lengths: list[tuple[int, bool]], most: int, rows: list[int]) -> None:
    pages, chunks = np.arange(2, dtype=np.int32), []
    for i, (count, is_tree) in enumerate(lengths):
        tree = np.arange(-1, count - 1, dtype=np.int32) if is_tree else None
        chunks.append(SequenceChunk(i, 10 * i + np.arange(count, dtype=np.int32), pages, tree))
    total = sum(count for count, _ in lengths)
    wanted = np.array([row % total for row in rows], np.int64)
    parts, found, places, at = list(split(Work(chunks, wanted), most)), [], [], 0
    for part in parts:
        assert 0 < part.rows <= most or (len(part.chunks) == 1 and part.chunks[0].parents is not None)
        for chunk in part.chunks:
            before = chunk.tokens[0] % 10  # of the chunk that it is a part of
            assert chunk.position == chunk.tokens[0] // 10 + before
            assert chunk.parents is None or len(chunk.parents) == len(chunk.tokens)
            found += chunk.tokens.tolist()
        places += (at + part.wanted).tolist()
        at += part.rows
    assert found == np.concatenate([chunk.tokens for chunk in chunks]).tolist()
    assert places == sorted(set(wanted.tolist()))


def test_a_step_of_too_many_rows_is_refused_before_its_rows_come(path: Path) -> None:
    stage = LocalStage(program_of(path), Part(0, 1), native())
    one, two = socket.socketpair()
    step, count = stage_step(Channel(one, "rank 0"), stage, 96), MOST_ROWS + 1
    chunk = SequenceChunk(0, np.zeros(count, np.int32), np.zeros(1, np.int32))
    with pytest.raises(WorkerError, match="a step of 65,537 rows; expected at most 65,536"):
        step(StepPlan([chunk], np.zeros(0, np.int64), False))
    for end in (one, two, stage.executor):
        end.close()


def test_layers_follow_the_shares(path: Path) -> None:
    program = program_of(path)
    assert divide_layers(program, (3, 1)) == (Part(0, 3), Part(3, 4))
    with pytest.raises(ParameterError, match="4 layers cannot be divided between 5 processes; use at most 4"):
        divide_layers(program, (1,) * 5)


@pytest.mark.parametrize(
    "stages", [3, pytest.param(4, marks=SLOW), "here*3,local", pytest.param("local*3", marks=SLOW)]
)
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=SLOW)])
def test_texts_and_receipts_are_those_of_one_process(
    stages: int | str, threads: int, path: Path, whole: list[tuple[str, bytes]]
) -> None:
    with intact.load(path, threads=threads, pipeline_parallel=stages) as model:
        assert isinstance(model.executor, PipelineExecutor)
        assert texts(model) == whole
        traffic = model.executor.traffic
        assert min(traffic["sent"], traffic["received"], traffic["parts"]) > 0
        assert sum(one.layers.width for one in model.executor.memory) == DEEP
        assert model.info()["pipeline_parallel"] == len(model.executor.memory)


@pytest.mark.parametrize(
    "options",
    [
        {"chunk": 5, "rows": 7},
        pytest.param({"page_size": 16, "prefix_cache": False}, marks=SLOW),
        {"drafter": "lookup", "cache_bytes": 400_000},
    ],
)
def test_batches_pages_and_drafts_do_not_matter(
    options: dict[str, Any], path: Path, whole: list[tuple[str, bytes]]
) -> None:
    with intact.load(path, threads=1, pipeline_parallel=2, **options) as model:
        assert texts(model) == whole


@pytest.mark.parametrize(("profile", "executor"), [("fp32", "native"), ("int8", "reference")])
def test_profiles_and_the_reference(profile: str, executor: Any, path: Path) -> None:
    with intact.load(path, profile, executor=executor) as model:
        expected = model.logits([3, 4, 5, 6, 7]).copy()
    with intact.load(path, profile, executor=executor, pipeline_parallel=2) as model:
        assert (model.logits([3, 4, 5, 6, 7]) == expected).all()


@pytest.mark.parametrize(
    "architecture",
    [
        *("gpt-oss", "mamba2", "deepseek2"),
        *(pytest.param(one, marks=SLOW) for one in ("lfm2", "mamba", "mamba3", "olmo2")),
    ],
)
def test_what_tensor_parallel_cannot_cut_runs_in_stages(architecture: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture)
    asked: dict[str, Any] = {"max_tokens": 8, "temperature": 1.0, "receipt": True, "ignore_eos": True}
    with intact.load(path) as model:
        expected = model.generate(PROMPTS, **asked)
    with intact.load(path, pipeline_parallel=2) as model:
        assert model.generate(PROMPTS, **asked) == expected


@pytest.fixture(scope="module")
def address(path: Path) -> str:
    """Of a shard in a thread of this process."""
    listener = listen_at(("127.0.0.1", 0))
    address = listener.getsockname()
    Thread(target=serve_shard, args=(listener, path), daemon=True).start()
    return f"{address[0]}:{address[1]}"


def test_a_shard_takes_a_stage_as_it_takes_a_part_of_every_matrix(
    path: Path, whole: list[tuple[str, bytes]], address: str
) -> None:
    with intact.load(path, threads=1, pipeline_parallel=f"here*3,{address}") as model:
        assert texts(model) == whole
        assert isinstance(model.executor, PipelineExecutor)
        own, its = model.executor.memory
        assert (model.executor.page_bytes, own.page_bytes) == (own.page_bytes, 3 * its.page_bytes)
    with intact.load(path, threads=1, tensor_parallel=f"here*2,{address}") as model:
        assert texts(model) == whole


def test_another_model_is_refused(path: Path, address: str, tmp_path: Path) -> None:
    other = bytearray(path.read_bytes())
    other[-1] ^= 1
    copy = tmp_path / "m.gguf"
    copy.write_bytes(other)
    with pytest.raises(WorkerError, match=r"the digest of m\.gguf is \w{64} here but \w{64} at rank 0"):
        intact.load(copy, pipeline_parallel=address)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"pipeline_parallel": 0}, "pipeline_parallel must be from 1 to 64"),
        ({"pipeline_parallel": "two"}, "pipeline_parallel must be a number of processes"),
        ({"pipeline_parallel": "local*0"}, "pipeline_parallel: a share"),
        ({"pipeline_parallel": 5}, "4 layers cannot be divided between 5 processes"),
        ({"pipeline_parallel": 2, "tensor_parallel": 2}, "cannot be combined: choose one"),
        ({"pipeline_parallel": 2, "adapters": {"a": "somewhere"}}, "pipeline parallel does not support adapters"),
        ({"pipeline_parallel": 2, "prefix_cache": "somewhere"}, "pipeline parallel does not keep pages in files"),
        ({"pipeline_parallel": 2, "weights_memory": "1GB"}, "weights_memory and pipeline_parallel cannot be combined"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(options: dict[str, Any], what: str, path: Path) -> None:
    with pytest.raises(ParameterError, match=what):
        intact.load(path, **options)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("lost", [1, 2])
def test_a_stage_that_dies_ends_requests_with_its_name(lost: int, path: Path) -> None:
    with intact.load(path, threads=1, pipeline_parallel=3) as model:
        assert isinstance(model.executor, PipelineExecutor)
        name = model.executor.channels[lost - 1].name
        stream = model.stream("one", max_tokens=60, temperature=1.0, ignore_eos=True)
        next(stream)
        os.kill(int(name.rstrip(")").rpartition(" ")[2]), signal.SIGKILL)
        with pytest.raises(WorkerError, match=rf"rank {lost} \(process \d+\) has ended: signal 9"):
            list(stream)
        with pytest.raises(WorkerError, match=f"rank {lost}"):
            model.generate("two", max_tokens=4)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_until_a_stage_dies_texts_are_right(seed: int, path: Path) -> None:
    options: dict[str, Any] = {"max_tokens": 60, "temperature": 1.0, "seed": seed, "ignore_eos": True}
    with intact.load(path) as model:
        expected = model.generate(PROMPTS[0], **options)[0][0].text
    random, text, said = Random(seed), "", ""
    with intact.load(path, threads=1, pipeline_parallel=3) as model:
        assert isinstance(model.executor, PipelineExecutor)
        name = random.choice(model.executor.channels).name
        timer = Timer(random.uniform(0, 0.5), os.kill, (int(name.rstrip(")").rpartition(" ")[2]), signal.SIGKILL))
        timer.start()
        try:
            for chunk in model.stream(PROMPTS[0], **options):
                text += chunk.text
        except WorkerError as error:
            said = str(error)
        timer.join()
    assert text == expected or (name in said and expected.startswith(text))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("way", ["tensor_parallel", "pipeline_parallel"])
def test_a_process_that_is_forked_has_no_ranks_and_leaves_those_of_its_parent_alone(way: str, path: Path) -> None:
    ways: dict[str, Any] = {way: 2}
    with intact.load(path, **ways) as model:
        expected = model.generate("one", max_tokens=4)

        def refused() -> bool:
            with pytest.raises(WorkerError, match="this process was forked"):
                model.generate("one", max_tokens=4)
            model.close()
            return True

        assert in_child(refused)
        assert model.generate("one", max_tokens=4) == expected


@pytest.mark.parametrize("variant", ["qwen2", pytest.param("gemma3", marks=SLOW)])
def test_folders(variant: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS[variant], variant)
    with intact.load(folder) as model:
        expected = model.logits([3, 4, 5, 6], raw=True)[0].copy()
    with intact.load(folder, pipeline_parallel=2) as model:
        assert (model.logits([3, 4, 5, 6], raw=True)[0] == expected).all()


@pytest.mark.slow
@pytest.mark.parametrize("stages", [2, "here*1,local*5,local*2"])
def test_smollm2(stages: int | str) -> None:
    name = real_model("smollm2-135m")
    with intact.load(name) as model:
        expected = texts(model)
    with intact.load(name, pipeline_parallel=stages) as model:
        assert texts(model) == expected
