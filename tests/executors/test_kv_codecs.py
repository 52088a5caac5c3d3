"""Codecs of the KV cache in executors: the definition's bits on every tier, in pages of the codec's size."""

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.numerics.kv_codecs import CODECS
from intact.numerics.profiles import describe_codecs, parse_profile, with_codec
from intact.receipts.document import Receipt
from intact.receipts.model_digests import Numerics
from intact.receipts.verify import verify
from support.settings import all_pairs
from support.tiny import write_tiny

TIERS = available_tiers()
PROFILES = tuple(f"int8+kv-{name}" for name in CODECS)
COUNT, PAGES = 75, 6


@pytest.fixture(scope="module", params=["llama", "gemma3", "lfm2"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """With several KV heads of 40 columns; with windows of 24 in every other layer; with convolutions."""
    shape = {"heads": 4, "kv_heads": 2, "head_width": 40} if request.param == "llama" else {}
    folder = tmp_path_factory.mktemp("tiny")
    return build_program(open_checkpoint(write_tiny(folder / "tiny.gguf", request.param, **shape)))


def run(executor: NativeExecutor | ReferenceExecutor, cuts: tuple[int, ...] = ()) -> np.ndarray:
    executor.reserve_pages(PAGES)
    pages = np.arange(PAGES, dtype=np.int32)[::-1].copy()
    rows = []
    for start, end in pairwise((0, *cuts, COUNT)):
        chunk = SequenceChunk(start, (np.arange(start, end, dtype=np.int32) * 37 + 5) % 250, pages)
        rows.append(np.array(executor.step([chunk], np.arange(end - start, dtype=np.int64))))
    return np.concatenate(rows)


@pytest.mark.native
@pytest.mark.parametrize("whole_product", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["pairs", "product"])
@pytest.mark.parametrize("profile", PROFILES)
def test_no_setting_changes_a_bit(program: Program, profile: str, whole_product: bool) -> None:
    expected = run(ReferenceExecutor(program, profile=profile, page_size=16))
    assert not np.array_equal(expected, run(NativeExecutor(program)))
    whole, ones, sevens = (), tuple(range(1, COUNT)), tuple(range(7, COUNT, 7))
    factors = {"tier": TIERS, "threads": (1, 3), "cuts": (whole, (1, 33)), "page_size": (16, 48)}
    rows = product(*factors.values()) if whole_product else (row.values() for row in all_pairs(factors))
    settings = [*map(tuple, rows), ("", 1, ones, 32), ("", 2, sevens, 16)]
    for tier, threads, cuts, page_size in settings:
        executor = NativeExecutor(program, profile, tier=tier or None, threads=threads, page_size=page_size)
        assert np.array_equal(run(executor, cuts), expected), (tier, threads, cuts, page_size)


@pytest.mark.native
@pytest.mark.parametrize("profile", PROFILES)
def test_sequences_that_share_pages_change_no_bit(program: Program, profile: str) -> None:
    """Two texts behind the same pages, with a third between them, in one step."""
    alone = run(ReferenceExecutor(program, profile=profile, page_size=16), (64,))
    executor = NativeExecutor(program, profile, threads=2, page_size=16)
    executor.reserve_pages(12)
    tokens = (np.arange(COUNT, dtype=np.int32) * 37 + 5) % 250
    executor.step([SequenceChunk(0, tokens[:64], np.array([3, 1, 2, 0], np.int32))], np.array([0]))
    other = SequenceChunk(0, np.arange(30, dtype=np.int32) + 9, np.array([9, 10], np.int32))
    chunks = [SequenceChunk(64, tokens[64:], np.array([3, 1, 2, 0, last], np.int32)) for last in (5, 7)]
    got = np.array(executor.step([chunks[0], other, chunks[1]], np.arange(52, dtype=np.int64)))
    assert executor.counters["shared_positions"] > 0
    assert np.array_equal(got[:11], alone[64:])
    assert np.array_equal(got[41:], alone[64:])


@pytest.mark.native
@pytest.mark.parametrize("profile", PROFILES)
def test_an_accepted_path_goes_on_as_if_never_drafted(program: Program, profile: str) -> None:
    for make in (NativeExecutor, ReferenceExecutor):
        executor = make(program, profile=profile, page_size=16)
        alone = run(executor)
        tokens = (np.arange(COUNT, dtype=np.int32) * 37 + 5) % 250
        pages = np.arange(PAGES, dtype=np.int32)
        executor.step([SequenceChunk(0, tokens[:13], pages)], np.array([0]))
        # 13 and 14 follow the text, each after a stranger
        tree = np.array([99, tokens[13], 77, tokens[14], 12], np.int32)
        parents = np.array([-1, -1, 0, 1, 3], np.int32)
        got = np.array(executor.step([SequenceChunk(13, tree, pages, parents)], np.arange(5)))
        assert np.array_equal(got[[1, 3]], alone[13:15])
        executor.move(pages, np.array([14, 16]), np.array([13, 14]))
        rest = np.array(executor.step([SequenceChunk(15, tokens[15:], pages)], np.arange(COUNT - 15)))
        assert np.array_equal(rest, alone[15:])


@pytest.mark.native
@pytest.mark.parametrize("profile", PROFILES)
def test_pages_have_the_size_of_their_codec_and_can_be_written_elsewhere(program: Program, profile: str) -> None:
    codec = parse_profile(profile).codec
    assert codec is not None
    plain, coded = NativeExecutor(program, page_size=16), NativeExecutor(program, profile, page_size=16)
    heads = program.layers * program.kv_heads * 16
    depth = -(-program.head_width // 16) * 16
    assert plain.page_bytes - coded.page_bytes == heads * (3 * depth + 8 - codec.position_bytes(program.head_width))
    expected = run(coded, (64,))[64:]
    other = NativeExecutor(program, profile, tier=TIERS[-1], threads=2, page_size=16)
    other.reserve_pages(PAGES)
    for page in range(2, PAGES):
        other.write_page(page, coded.read_page(page))
    tokens = (np.arange(COUNT, dtype=np.int32) * 37 + 5) % 250
    chunk = SequenceChunk(64, tokens[64:], np.arange(PAGES, dtype=np.int32)[::-1].copy())
    assert np.array_equal(np.array(other.step([chunk], np.arange(COUNT - 64))), expected)


def test_a_cap_on_the_cache_holds_as_many_more_pages(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", head_width=64)
    pages = {}
    for kv in (None, *CODECS):
        with intact.load(path, kv=kv, cache_bytes=10_000_000) as model:
            pages[kv] = model.engine.pool.capacity
            assert pages[kv] == 10_000_000 // model.executor.page_bytes
    assert pages["int4"] / pages[None] == pytest.approx(200 / 72, rel=0.01)
    assert pages[None] < pages["int8"] < pages["int84"] < pages["int4"]


@pytest.mark.native
def test_profiling_counts_the_bytes_of_coded_pages(program: Program) -> None:
    moved = {}
    for profile in ("int8", "int8+kv-int4"):
        executor = NativeExecutor(program, profile)
        executor.profiling = True
        run(executor)
        moved[profile] = sum(r.bytes for r in executor.profile_records() if r.kind == "attention")
    assert moved["int8+kv-int4"] < moved["int8"]


@pytest.mark.parametrize("executor", ["native", "reference"])
def test_a_codec_refuses_heads_that_it_cannot_hold(tmp_path: Path, executor: str) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", head_width=20)
    with pytest.raises(ParameterError, match="heads whose width is a multiple of 8; this model's are 20 wide"):
        intact.load(path, kv="int4", executor=executor)


def test_names_that_are_none_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    nowhere = tmp_path / "nothing.gguf"
    for arguments, message in (
        ({"kv": "int44"}, "there is no codec 'int44'.*int4"),
        ({"kv": 4}, "there is no codec 4"),
        ({"kv": "int4", "profile": "fp32"}, "fp32 keeps keys and values as floats"),
        ({"kv": "int4", "profile": "int8+kv-int8"}, "has the codec int8 already"),
        ({"profile": "int8+kv-int5"}, "profile must be.*codecs: int4, int8"),
        ({"profile": "fp32+kv-int4"}, "profile must be"),
    ):
        with pytest.raises(ParameterError, match=message):
            intact.load(nowhere, **arguments)


def test_a_codec_is_part_of_the_profile() -> None:
    assert with_codec("mxfp4+teal25", "int84") == "mxfp4+teal25+kv-int84"
    assert with_codec("int8+kv-int4", "int4") == "int8+kv-int4"
    assert with_codec("fp32", None) == "fp32"
    parts = parse_profile("int8+wina50+kv-int8")
    assert (parts.codec, parts.sparsity is None) == (CODECS["int8"], False)
    assert [one["name"] for one in describe_codecs()] == list(CODECS)
    with pytest.raises(ReceiptError, match="profile"):
        Numerics.from_document({"version": "1", "profile": "int8+kv-none", "bits": 8})


@pytest.mark.parametrize("codec", list(CODECS))
def test_receipts_state_the_codec_and_are_verified_with_it(tmp_path: Path, codec: str) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    model = intact.load(path, kv=codec)
    receipt = model.generate("the cat", max_tokens=8, receipt=True)[0][0].receipt
    assert receipt is not None
    receipt = Receipt.parse(receipt.encode())
    assert receipt.header.numerics.profile == f"int8+kv-{codec}"
    (verdict,) = verify(intact.load(path, receipt.header.numerics.profile), [receipt])
    assert verdict.outcome == "true"
    (verdict,) = verify(intact.load(path), [receipt])
    assert (verdict.outcome, verdict.what) == ("unverifiable", "numerics")
