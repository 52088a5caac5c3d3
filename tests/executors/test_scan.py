"""State-space layers: executors agree, and no cut, page size, fork or preemption changes a bit."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, _Builder, cases
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Embed, Linear, Scan, Target
from intact.models.ops.scan import scan_weights
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from intact.numerics.scan import ScanShape
from intact.quantizing import quantize
from support.examples import examples
from support.folders import write_folder
from support.gguf_writer import write_gguf
from support.tiers import tiers_with
from support.tiny import write_tiny
from support.variants import VARIANTS

TIERS = available_tiers()
CASES = {case.name: case for case in cases() if case.name.startswith("scan ")}
TEXT = np.array([(37 * i * i + 11 * i + 5) % 301 for i in range(150)], np.int32)


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> list[np.ndarray]:
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


def program_of(tmp_path: Path, kinds: tuple[str, ...] = ("F32", "Q8_0")) -> Program:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "mamba2", kinds)) as checkpoint:
        return build_program(checkpoint)


def logits_of(executor: ReferenceExecutor | NativeExecutor, ends: list[int]) -> np.ndarray:
    """The logits of a text that is cut at some places."""
    count = -(-len(TEXT) // executor.page_size)
    executor.reserve_pages(count + 1)
    pages, out = np.arange(count, 0, -1, dtype=np.int32), []
    for start, end in zip([0, *ends], [*ends, len(TEXT)], strict=True):
        chunk = SequenceChunk(start, TEXT[start:end], pages)
        out.append(executor.step_float([chunk], np.arange(end - start)).copy())
    return np.concatenate(out)


@cache
def reference(name: str) -> list[np.ndarray]:
    return run(ReferenceExecutor(CASES[name].program, CASES[name].bits, 16), CASES[name])


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 5))
@pytest.mark.parametrize("name", CASES)
def test_native_equals_the_reference(name: str, tier: str, threads: int) -> None:
    case = CASES[name]
    got = run(NativeExecutor(case.program, "int8", threads, tier, case.bits, 16), case)
    assert all(np.array_equal(a, b) for a, b in zip(got, reference(name), strict=True))


def test_the_reference_gives_one_text_the_same_bits_however_it_is_cut(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    expected = logits_of(ReferenceExecutor(program), [])
    for page, ends in ((16, list(range(1, 150))), (80, [63, 64, 65, 128])):
        assert np.array_equal(logits_of(ReferenceExecutor(program, 8, page), ends), expected), page


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_native_gives_one_text_the_same_bits_however_it_is_cut(tmp_path: Path, profile: str) -> None:
    program = program_of(tmp_path)
    expected = logits_of(NativeExecutor(program, profile, 1), [])
    if profile == "int8":
        assert np.array_equal(expected, logits_of(ReferenceExecutor(program), []))

    @given(
        st.lists(st.integers(1, 149), max_size=12, unique=True),
        st.sampled_from([16, 32, 48, 64, 80, 128, 208]),
        st.integers(1, 3),
        st.sampled_from(TIERS),
    )
    @examples(25)
    def cut(ends: list[int], page: int, threads: int, tier: str) -> None:
        executor = NativeExecutor(program, profile, threads, tier, page_size=page)
        assert np.array_equal(logits_of(executor, sorted(ends)), expected)

    cut()


def bare_program(
    rows: np.ndarray, shape: ScanShape, heads: dict[str, np.ndarray], taps: np.ndarray, bias: np.ndarray
) -> tuple[Case, Scan, list[Target]]:
    """A program that is little besides a scan: token i has row i, and products by parts of the unit matrix give it."""
    b, count = _Builder("bare"), len(rows)

    def tensor(name: str, values: np.ndarray) -> str:
        return b.tensor(name, "F32", values.shape, np.ascontiguousarray(values, "<f4").tobytes())

    b.ops.append(Embed(b.buffer("x", rows.shape[1], wide=True), tensor("embed", rows)))
    unit, ends = np.eye(rows.shape[1]), (("mixed", shape.channels), ("steps", shape.heads))
    parts = np.split(unit, [shape.channels])
    targets = [Target(b.buffer(name, n), tensor(f"to.{name}", p)) for (name, n), p in zip(ends, parts, strict=True)]
    b.ops.append(Linear("x", tuple(targets)))
    names = [tensor(name, values) for name, values in (("taps", taps), ("bias", bias), *heads.items())]
    op = Scan("mixed", "steps", b.buffer("scanned", shape.inner), *names, 0, *shape, taps.shape[1])
    b.ops.append(op)
    b.logits("scanned", "F32", 7)
    return b.case([], pages=-(-count // 16)), op, targets


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_a_state_that_outweighs_what_a_block_adds_keeps_its_bits(tier: str) -> None:
    """The second block's rows are a thousandth of the first's, and nothing is forgotten."""
    rng, shape = np.random.default_rng(5), ScanShape(2, 8, 1, 8)
    rows = rng.normal(0, 1, (140, shape.channels + shape.heads)).astype(np.float32)
    rows[64:, : shape.channels] *= 1e-3
    heads = {"step_bias": np.full(2, 1.0), "decay": np.full(2, -1e-6), "skip": np.zeros(2)}
    case, *_ = bare_program(rows, shape, heads, np.ones((shape.channels, 1)), np.zeros(shape.channels))

    def logits(executor: ReferenceExecutor | NativeExecutor) -> np.ndarray:
        executor.reserve_pages(case.pages)
        chunk = SequenceChunk(0, np.arange(len(rows), dtype=np.int32), np.arange(case.pages, dtype=np.int32))
        return executor.step([chunk], np.arange(len(rows))).copy()

    expected = logits(ReferenceExecutor(case.program, case.bits, 16))
    assert np.abs(expected[130:]).max() > 0
    assert np.array_equal(logits(NativeExecutor(case.program, "int8", 2, tier, case.bits, 16)), expected)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_fp32_profile_computes_its_definition(groups: int) -> None:
    rng, shape, count = np.random.default_rng(groups), ScanShape(6, 5, groups, 12), 150
    rows = rng.normal(0, 1, (count, shape.channels + shape.heads)).astype(np.float32)
    taps, bias = rng.normal(0, 0.5, (shape.channels, 4)), rng.normal(0, 0.2, shape.channels)
    heads = {"step_bias": rng.normal(-2, 1, 6), "decay": -np.geomspace(0.01, 8, 6), "skip": rng.normal(0, 1, 6)}
    case, op, targets = bare_program(rows, shape, heads, taps, bias)

    def values(name: str) -> np.ndarray:
        t = case.program.tensors[name]
        return dequantize(t.kind, t.data, t.shape)

    mixed, steps = (fp32.linear(rows, values(target.weight)) for target in targets)
    inputs = fp32.scan_inputs(mixed, values("taps"), values("bias"))
    scanned = fp32.scan(inputs, steps, shape, scan_weights(case.program, op), values("skip"))
    expected = fp32.linear(scanned, values("head"))
    for threads, size in ((1, 150), (3, 40), (2, 1)):
        executor = NativeExecutor(case.program, "fp32", threads, page_size=16)
        executor.reserve_pages(case.pages)
        pages, found = np.arange(10, dtype=np.int32), []
        for start in range(0, count, size):
            tokens = np.arange(start, min(start + size, count), dtype=np.int32)
            found.append(executor.step_float([SequenceChunk(start, tokens, pages)], np.arange(len(tokens))).copy())
        assert np.array_equal(np.concatenate(found), expected), threads


@pytest.mark.native
def test_samples_forks_and_preemption_leave_bits_alone(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "mamba2")
    prompts = [TEXT[:58].tolist(), TEXT[:61].tolist(), TEXT[40:90].tolist()]
    options = {"max_tokens": 40, "temperature": 0.9, "seed": 5, "ignore_eos": True}
    whole = intact.load(path)
    expected = [[one.tokens for one in whole.generate([prompt], n=3, **options)[0]] for prompt in prompts]
    page = whole.executor.page_bytes
    for settings in ({"page_size": 16, "chunk": 7}, {"page_size": 64, "drafter": "off"}, {"cache_bytes": 12 * page}):
        model = intact.load(path, **settings)
        found = model.generate(prompts, n=3, **options)
        assert [[one.tokens for one in some] for some in found] == expected, settings
    assert model.engine.counters.preemptions > 0


@pytest.mark.native
def test_chains_of_drafts_run_across_the_ends_of_blocks(tmp_path: Path) -> None:
    """And a chain that is not followed leaves no trace in the state: the block's end is computed again."""
    program = program_of(tmp_path)
    pages = np.arange(5, dtype=np.int32)
    for make in (NativeExecutor, ReferenceExecutor):
        executor = make(program)
        executor.reserve_pages(5)
        assert not executor.trees
        expected = executor.step([SequenceChunk(0, TEXT[:80], pages)], np.arange(60, 80)).copy()
        executor.step([SequenceChunk(0, TEXT[:60], pages)], np.arange(0))
        executor.step([SequenceChunk(60, TEXT[100:120], pages)], np.arange(20))
        found = [executor.step([SequenceChunk(p, TEXT[p : p + 1], pages)], np.arange(1)).copy() for p in range(60, 80)]
        assert np.array_equal(np.concatenate(found), expected)
        tree = SequenceChunk(80, TEXT[:2], pages, np.array([-1, -1], np.int32))
        with pytest.raises(ParameterError, match="consecutive tokens or chains of drafts, no trees"):
            executor.step([tree], np.arange(2))


@pytest.mark.native
def test_pages_hold_rows_and_states_and_travel_whole(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    pages = np.arange(5, dtype=np.int32)
    for make in (NativeExecutor, ReferenceExecutor):
        executor = make(program)
        executor.reserve_pages(10)
        expected = executor.step([SequenceChunk(0, TEXT[:140], pages)], np.arange(139, 140)).copy()
        executor.step([SequenceChunk(0, TEXT[:139], pages)], np.arange(0))
        for page in range(5):
            data = executor.read_page(page)
            assert len(data) == executor.page_bytes
            executor.write_page(9 - page, data)
        last = SequenceChunk(139, TEXT[139:140], np.arange(9, 4, -1, dtype=np.int32))
        assert np.array_equal(executor.step([last], np.arange(1)), expected)
        with pytest.raises(ParameterError, match="a page has"):
            executor.write_page(0, data[:-1])


@pytest.mark.native
def test_wanted_rows_alone_go_on_behind_the_last_scan(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    pages, every, some = np.arange(3, dtype=np.int32), np.arange(70), np.array([3, 64, 69])
    for tier in TIERS:
        for threads in (1, 3):
            executor = NativeExecutor(program, "int8", threads, tier)
            executor.reserve_pages(3)
            expected = executor.step([SequenceChunk(0, TEXT[:70], pages)], every).copy()
            assert np.array_equal(executor.step([SequenceChunk(0, TEXT[:70], pages)], some), expected[some])
            assert executor.counters["ended_rows"] == 67


@pytest.mark.native
def test_scans_take_their_parts_of_the_cache_in_order(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    ops = tuple(replace(op, layer=1 - op.layer) if isinstance(op, Scan) else op for op in program.ops)
    with pytest.raises(ValueError, match="scans take the parts of the cache in their order"):
        NativeExecutor(replace(program, ops=ops))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("ssm.conv_kernel", 5, "conv_kernel must be an integer from 1 to 4"),
        ("ssm.conv_kernel", 3, r"ssm_conv1d\.weight has shape \(128, 4\), expected \(128, 3\)"),
        ("ssm.state_size", 257, "state_size must be an integer from 1 to 256"),
        ("ssm.time_step_rank", 5, "inner_size must be a multiple of the 5 heads"),
        ("ssm.group_count", 3, "group_count must be a divisor of the 4 heads"),
        ("ssm.group_count", 2, r"ssm_in\.weight has shape \(228, 96\), expected 96 \+ 160 \+ 4 rows"),
        ("ssm.inner_size", 48, r"ssm_in\.weight has shape \(228, 96\), expected 48 \+ 80 \+ 4 rows"),
    ],
)
def test_wrong_sizes_are_refused(tmp_path: Path, key: str, value: object, problem: str) -> None:
    path = changed(tmp_path, {f"mamba2.{key}": value}, {})
    with pytest.raises(ModelError, match=problem):
        intact.load(path)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("blk.1.ssm_a", 0.5, r"decays must lie in \[-709, 0\], found .* to 0.5"),
        ("blk.1.ssm_a", -710.0, r"decays must lie in \[-709, 0\], found -710"),
        ("blk.0.ssm_d", np.nan, "NaN or infinite"),
        ("blk.0.ssm_dt.bias", 20000.0, "values of 16,384 and more"),
        ("blk.1.ssm_conv1d.weight", 300.0, "weights of 256 and more"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(tmp_path: Path, name: str, value: float, problem: str) -> None:
    path = changed(tmp_path, {}, {name: value})
    for executor in ("native", "reference"):
        with pytest.raises(ModelError, match=rf"(?s){name}.*{problem}"):
            intact.load(path, executor=executor).logits([3])


def changed(tmp_path: Path, metadata: dict[str, object], values: dict[str, float]) -> Path:
    """A tiny model with other metadata, and with another first number in some tensors."""
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "mamba2", ["F32"])) as checkpoint:
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
        own = dict(checkpoint.metadata) | metadata
    for name, value in values.items():
        kind, shape, data = tensors[name]
        numbers = np.frombuffer(data, "<f4").copy()
        numbers[0] = value
        tensors[name] = (kind, shape, numbers.tobytes())
    return write_gguf(tmp_path / "changed.gguf", own, tensors)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("time_step_limit", [0.0, {"__float__": "Infinity"}], None),
        ("time_step_limit", [0.001, 0.1], "other limits of steps are not supported"),
        ("num_heads", 7, "128 channels"),
        ("n_groups", 3, "a divisor of the 8 heads"),
        ("hidden_act", "gelu", "hidden_act must be silu"),
        ("use_bias", True, "use_bias is True"),
    ],
)
def test_folders_of_other_models_are_refused(tmp_path: Path, key: str, value: object, problem: str | None) -> None:
    variant = VARIANTS["mamba2"]
    folder = write_folder(tmp_path / "folder", variant, "mamba2")
    (folder / "config.json").write_text(json.dumps({**variant.config, key: value}))
    if problem is None:
        intact.load(folder)
        return
    with pytest.raises(ModelError, match=problem):
        intact.load(folder)


@pytest.mark.native
def test_a_model_with_a_state_is_quantised(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "mamba2", ["F32"])
    quantize(path, tmp_path / "out", "int8-32")
    with open_checkpoint(tmp_path / "out") as checkpoint:
        kinds = {name: tensor.kind for name, tensor in checkpoint.tensors.items()}
    assert kinds["blk.0.ssm_conv1d.weight"] == kinds["blk.0.ssm_a"] == "F32"
    assert kinds["blk.0.ssm_out.weight"] != "F32"
    whole, parts = (intact.load(p, "fp32").logits([5, 9, 33]) for p in (path, tmp_path / "out"))
    assert 0 < np.abs(whole - parts).max() < 0.05 * np.abs(whole).max()
