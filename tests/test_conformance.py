"""Known answers of every operation, digests over all, bounds of all sums, and the pages that state them."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intact.executors.native import available_tiers
from intact.measure.conformance import EXPECTED, FEW_TOKENS, TOKENS, make_executor, make_kernels, model_digest
from intact.measure.conformance.digests import (
    PROFILED,
    PROFILED_CASES,
    combined,
    layout_digests,
    operation_digests,
    profile_digests,
)
from intact.measure.conformance.synthetic import ALL_TOKENS, Case, _Builder, cases, outlier_cases, random_floats
from intact.models import ops
from intact.models.ops import Embed, Norm
from intact.numerics import VERSION, attention, functions
from intact.numerics.activations import SCHEMES
from intact.numerics.convolve import CODE_BITS, CODE_LIMIT, MOST_TAPS, TAP_FRACTION, TAP_LIMIT
from intact.numerics.delta import KEY_LIMIT
from intact.numerics.experts import SCALE_LIMIT
from intact.numerics.gate import ERF_CLIP, erf_slope
from intact.numerics.integers import LARGEST_ENTRY
from intact.numerics.kv_codecs import CODECS
from intact.numerics.kv_codecs.definition import KEY_UNIT, narrow, widen
from intact.numerics.profiles import parse_profile
from intact.numerics.sampling import philox4x32
from intact.numerics.scan import BLOCK, MOST_STATES, RATE_LIMIT, STEP_LIMIT
from intact.numerics.selective import INPUT_BITS
from intact.numerics.sparsity import RULES
from intact.numerics.trapezoidal import STATE_BITS
from support.models import real_model
from support.modules import load
from support.tiers import tiers_with

ROOT = Path(__file__).parent.parent
TIERS = available_tiers()
MAKE = load("conformance/make.py")


@pytest.mark.parametrize("name", MAKE.FILES)
def test_the_reference_gives_the_known_answers(name: str) -> None:
    contents = json.loads((ROOT / "conformance" / f"{name}.json").read_text())
    assert contents["numerics"] == VERSION
    for case in contents["cases"]:
        assert json.loads(json.dumps(MAKE.answer(case))) == case["output"], case


@pytest.mark.parametrize("name", MAKE.FILES)
def test_files_are_those_that_the_script_writes(name: str) -> None:
    assert (ROOT / "conformance" / f"{name}.json").read_text() == MAKE.text(name)


def test_every_file_belongs_to_the_script() -> None:
    assert {path.stem for path in (ROOT / "conformance").glob("*.json")} == set(MAKE.FILES)


def test_every_operation_has_known_answers() -> None:
    answered = {case["operation"] for file in MAKE.FILES.values() for case in file()}
    assert answered == set(MAKE.OPERATIONS)


def test_philox_gives_the_answers_of_its_authors() -> None:
    """Random123's kat_vectors."""
    assert philox4x32((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    full = 0xFFFFFFFF
    assert philox4x32((full,) * 4, (full,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert philox4x32(*pi) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    """What the reference computes: a digest for each operation and program."""
    return operation_digests(make_kernels("reference"), make_executor("reference"))


def test_the_reference_prints_the_documented_operations_digest(reference: dict[str, str]) -> None:
    assert combined(reference) == EXPECTED["operations"]


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
def test_every_tier_prints_the_documented_operations_digest(tier: str, threads: int, reference: dict[str, str]) -> None:
    digests = operation_digests(make_kernels("native", tier), make_executor("native", tier, threads))
    assert digests == reference
    assert combined(digests) == EXPECTED["operations"]


@pytest.mark.parametrize("tier", ["reference", *TIERS])
def test_every_tier_prints_the_documented_layouts_digest(tier: str) -> None:
    kernels = make_kernels("reference") if tier == "reference" else make_kernels("native", tier)
    assert combined(layout_digests(kernels)) == EXPECTED["layouts"]


@pytest.fixture(scope="module")
def profiled() -> dict[str, str]:
    """What the reference computes in each profile of the profiles digest, for each of its programs."""
    return profile_digests(lambda profile: make_executor("reference", profile=profile))


def test_the_reference_prints_the_documented_profiles_digest(profiled: dict[str, str]) -> None:
    assert combined(profiled) == EXPECTED["profiles"]
    special = [case.name for case in outlier_cases()]
    assert len(profiled) == (len(PROFILED) - 1) * len(PROFILED_CASES) + len(special)
    assert all(f"llm_int8: {name}" in profiled for name in special)


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
def test_every_tier_prints_the_documented_profiles_digest(tier: str, threads: int, profiled: dict[str, str]) -> None:
    assert profile_digests(lambda profile: make_executor("native", tier, threads, profile)) == profiled


def test_the_profiles_digest_has_every_scheme_rule_and_codec_and_tells_them_apart(profiled: dict[str, str]) -> None:
    parts = [parse_profile(profile) for profile in PROFILED]
    assert {part.scheme.name for part in parts} == SCHEMES.keys()  # int8 with rules
    assert {part.sparsity.rule for part in parts if part.sparsity} == set(RULES)
    coded = [profile for profile, part in zip(PROFILED, parts, strict=True) if part.codec]
    assert {parse_profile(profile).codec for profile in coded} == set(CODECS.values())
    plain = [profile for profile in PROFILED if profile != "llm_int8"]
    others = [profile for profile in plain if profile not in coded]
    for names, profiles in (
        (("decoder llama", "decoder gemma", "matrix Q2_K 8"), others),
        (("decoder llama",), plain),
        (("attention 9 1 64 17", "attention 6 6 16 0 capped", "attention 1 1 512 0"), coded),
    ):
        for name in names:
            assert len({profiled[f"{profile}: {name}"] for profile in profiles}) == len(profiles)


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_prints_the_documented_digest_of_a_few_tokens(tier: str) -> None:
    path = real_model("smollm2-135m")
    assert model_digest(make_executor("native", tier), path, FEW_TOKENS) == EXPECTED["tokens, first 4"]


@pytest.mark.slow
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "scalar"] or TIERS)  # which takes a minute
def test_every_tier_prints_the_documented_tokens_digest(tier: str) -> None:
    assert model_digest(make_executor("native", tier), real_model("smollm2-135m"), TOKENS) == EXPECTED["tokens"]


@pytest.mark.slow
def test_the_reference_prints_the_documented_digest_of_a_few_tokens() -> None:
    digest = model_digest(make_executor("reference"), real_model("smollm2-135m"), FEW_TOKENS)
    assert digest == EXPECTED["tokens, first 4"]


@pytest.mark.parametrize("page", ["contract.md", "numerics.md"])
def test_the_digests_stand_in_the_docs(page: str) -> None:
    rows = re.findall(r"^\| (.+?) \| `([0-9a-f]{64})` \|$", (ROOT / "docs" / "spec" / page).read_text(), re.MULTILINE)
    assert dict(rows) == EXPECTED


def _logits(case: Case, executor: Any) -> list[np.ndarray]:
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


def _case(build: Callable[[_Builder], None]) -> Case:
    builder = _Builder("special")
    build(builder)
    return builder.case([ALL_TOKENS])


def _tiny_head_gain(b: _Builder) -> None:
    b.embed(64)
    b.linear("x", "F32", ("q", 5 * 24))
    b.tensor("gain", "F32", (24,), np.full(24, 1e-7, np.float32).tobytes())
    b.ops.append(Norm("q", "q", "gain", 1e-6, heads=5))
    b.logits("q")


def _tiny_embedding(b: _Builder) -> None:
    sizes = np.asarray(2.0 ** -(2 + 5.5 * np.arange(23)), np.float64)
    x = random_floats("tiny rows", (23, 64), sizes)
    b.tensor("embed", "F32", x.shape, x.tobytes())
    b.ops.append(Embed(b.buffer("x", 64, wide=True), "embed"))
    b.linear("x", "F32", ("y", 37), bias=0.01)
    b.logits("y")


@pytest.mark.native
@pytest.mark.parametrize(
    "build",
    [
        _tiny_head_gain,
        _tiny_embedding,
    ],
)
@pytest.mark.parametrize("tier", TIERS)
def test_shifts_beyond_a_word_are_those_of_the_reference(tier: str, build: Callable[[_Builder], None]) -> None:
    case = _case(build)
    expected = _logits(case, make_executor("reference")(case.program, 8))
    found = _logits(case, make_executor("native", tier)(case.program, 8))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_synthetic_programs_use_every_operation_and_weight_kind() -> None:
    used = {type(op).__name__ for case in cases() for op in case.program.ops}
    parts = {"Target", "LowRank", "Expert"}
    assert used == {*ops.__all__} - parts - {"Hadamard", "AllGather"}


LIMIT = (1 << 31) - 1
LONGEST_KEY = KEY_LIMIT + 10  # in Q15, each of 256 columns off by a half
A = 8191  # largest scale of an activation
H = {32: 32512, 16: 16256}


LARGEST_MOMENT = 37347357757671  # w t at t = 94,553, about 2^16 / ln 2


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _unit() -> int:
    """The largest x relative to its rounded form is at half a unit below 2^20; r loses nothing, t rounds once."""
    return int(Fraction(1 << 30) / (1 - Fraction(1, 1 << 20))) + 1


BOUNDS: dict[str, int] = {
    "a block's `u * R`, rounded": 127 * (1 << 24) + 127 * A // 2 + (1 << 23),
    "`acc` of a block, before r": 32 * LARGEST_ENTRY * 127,
    "`h`": max(H.values()),
    "`c`": (32767 * A + (1 << 14)) >> 15,
    "`G`: 8 blocks of 32, or 16 of 16 (there h <= 16256)": max(8 * H[32] * A, 16 * H[16] * A),
    "`S`: K / 256 groups": 128 * ((8 * H[32] * A + 64) >> 7),
    "eight minima": 8 * A * 32767,
    "`M`: K / (8B) groups": max(128 * ((8 * A * 32767 + 64) >> 7), 256 * ((8 * A * 32767 + 128) >> 8)),
    "`y` of a matrix, both sums, without its bias": 2 * (LIMIT << 31),
    "sum of squares, with epsilon": 16384 * (1 << 40) + 16384 * (1 << 40),
    "`rshift(x, t) * r`": (1 << 31) * (1 << 31),
    "`unit`": _unit(),
    "`unit * factor`": _unit() << 30,
    "twice the sum of a layer norm's row, with n": 2 * 16384 * (1 << 46) + 16384,
    "a rotated pair": 2 * LIMIT << 30,
    "`acc` of a score": 512 * 2047**2,
    "key scale": _ceil(LIMIT << 8, 2047),
    "value scale": _ceil(LIMIT << 6, 127),
    "key scale of 4 bits": (_ceil(LIMIT << 8, 2047) * 17 + 8) >> 4,
    "value scale of 4 bits": (_ceil(LIMIT << 6, 127) * 17 + 8) >> 4,
    "a head under a codec, rotated, before its shift": LIMIT * 256,
    "`x * reciprocal` of a key, a query": max(2047 << 48, 7 << 56, 127 << 50),
    "score before drop": ((512 * 2047**2 * (1 << 15) + (1 << 14)) >> 15) * _ceil(LIMIT << 8, 2047),
    "`t`": (1 << 30) * _ceil(LIMIT << 6, 127),
    "`t` under a codec": (1 << 30) * ((_ceil(LIMIT << 6, 127) * 17 + 8) >> 4),
    "`total * inverse`": 4095 * 127 * 524288 << 24,
    "gate, before its shift": LIMIT**2,
    "`s * z` of gelu_erf, its `y * s`": int(erf_slope(np.array(ERF_CLIP))) * (ERF_CLIP**2 >> 16),
    "`x * slope` of a soft cap": LIMIT << 25,
    "`limit * sigmoid` of a soft cap": 1 << 14 << 16 << 30,
    "`B * x` and `y * C` of a convolution, before their shifts": LIMIT**2,
    "sum of a convolution": MOST_TAPS * (TAP_LIMIT << TAP_FRACTION) * (CODE_LIMIT << 31 - CODE_BITS),
    "`step * rate` of a scan": STEP_LIMIT * (RATE_LIMIT - 1),
    "`exp2neg * step` of a scan": STEP_LIMIT << 30,
    "`k` of a scan": STEP_LIMIT << 30,
    "`r` of a scan": MOST_STATES * LIMIT * CODE_LIMIT,
    "`before` of a scan, before its shift": 1 << 31 << 30,
    "`U` of a scan": BLOCK * (1 << 24) * CODE_LIMIT**2,
    "sum of `S * k` of the delta rule": MOST_STATES * LIMIT * KEY_LIMIT,
    "`dot * exp2neg` of the delta rule": LONGEST_KEY**2 << 30,
    "sum of what rows hold, of the delta rule": BLOCK * (LONGEST_KEY**2 >> 6) * LIMIT,
    "sum of what rows add to a state of the delta rule": BLOCK * (KEY_LIMIT << 30 >> 21) * LIMIT,
    "a strength times what is wanted, a state times its decay": LIMIT << 30,
    "`step * x` of a selective scan": STEP_LIMIT * LIMIT,
    "`z * B` of a selective scan": CODE_LIMIT << INPUT_BITS,
    "`h * exp2neg` of a selective scan": LIMIT << 30,
    "sum of `h * C` of a selective scan": MOST_STATES * LIMIT * CODE_LIMIT,
    "`D * x` of a selective scan": LIMIT << 30,
    "`room * (2^30 - sigmoid)` of a recurrence": 1 << 60,
    "`U` of a recurrence": LIMIT << 30,
    "`2^16 (U mod 2^14) + L` of a recurrence": ((1 << 14) - 1 << 16) + (0xFFFF << 30),
    "a step times a share, a decay, a tanh, of a trapezoidal scan": STEP_LIMIT << 30,
    "`step * rate` of a trapezoidal scan": STEP_LIMIT * (RATE_LIMIT - 1),
    "`(2^20 + 16 g) * LOG2E` of a trapezoidal scan": (710 << 20) * functions.LOG2E,
    "`step * x` of a trapezoidal scan": STEP_LIMIT * LIMIT,
    "`z * k` of a trapezoidal scan": CODE_LIMIT << INPUT_BITS,
    "sum of the three parts of a state of a trapezoidal scan": 3 << STATE_BITS,
    "an expert's result times its weight, before its shift": (1 << 42) * ((1 << 20) - 1),
    "an expert's weight times its scale, before its shift": ((1 << 20) - 1) * (SCALE_LIMIT << 24),
    "the share of an expert in Q60": 1 << 60,
    "`h * m`, `l * m` of a Multiply": ((1 << 24) - 1) * ((64 << 24) - 1),
    "embedding, before its shift": 128 * 32768 << 31,
    "`gap * LOG2E`": 2 * LIMIT * 1549082005,
    "mass of a vocabulary": 1 << 24 << 30,
    "a repetition penalty's product": 2 * LIMIT * 10**8 + 10**6,
    "presence and frequency, before division": 2 * (524288 * 2 * 10**6 + 2 * 10**6) * 65536 + 10**6,
    "sum of `floor(w t / 2^8)`": LARGEST_MOMENT >> 8 << 24,
}


def test_the_table_of_bounds_is_computed_and_below_its_limits() -> None:
    text = (ROOT / "docs" / "spec" / "numerics.md").read_text().split("<!-- bounds -->")[1]
    rows = re.findall(r"^\| (.+?) \| (\d+) \| 2\^(\d+) \| .*\|$", text, re.MULTILINE)
    assert {what: int(bound) for what, bound, _ in rows} == BOUNDS
    for what, bound, limit in rows:
        assert int(bound) < 1 << int(limit) or what == "`rshift(x, t) * r`", what


def test_weights_never_grow_with_the_gap_and_their_moment_stands_within_its_bound() -> None:
    """Where weights fall with the logit, every filter but typical_p keeps a run of ranks."""
    t = np.arange(32 << 16)
    w = functions.exp2_neg(t)
    assert (np.diff(w) <= 0).all()
    assert (w * t).max() == LARGEST_MOMENT


def test_activation_products_stand_within_their_bound() -> None:
    scale = np.arange(1, A + 1, dtype=np.int64)
    product = 127 * scale * (((1 << 24) + (scale >> 1)) // scale) + (1 << 23)
    assert product.max() <= BOUNDS["a block's `u * R`, rounded"]
    assert (product >> 24).max() == 127


def test_scores_at_the_widest_head_stand_within_their_bound() -> None:
    x = np.full(512, LIMIT, np.int64)
    scale = attention.score_scale(Fraction(1, 8))
    keys = attention.quantize_keys(x[None])
    query = attention.quantize_query(x, scale)
    acc = int(keys.codes[0] @ query[0])
    assert acc <= BOUNDS["`acc` of a score"] < 1 << 31
    assert keys.scale[0] == BOUNDS["key scale"]
    coded = narrow(keys, 4, KEY_UNIT)
    assert coded.scale[0] == BOUNDS["key scale of 4 bits"]
    assert np.abs(widen(coded.codes, 4, KEY_UNIT)).max() * coded.scale[0] <= 2047 * keys.scale[0]
