"""The contract: tokens and log-probabilities are a function of weights, prompt, parameters, seed and branch alone.

Raw logits, tokens and log-probabilities are compared bit for bit over tier, threads, batch, chunk of the prefill, page
size and executor; counters show that each setting took effect.
"""

from functools import cache
from itertools import combinations, product

import numpy as np
import pytest

import intact
from intact.executors.native import available_tiers
from support.architectures import STORED, representatives
from support.settings import FACTORS, WHOLE, Setting, all_pairs, observe
from support.tiny import IQ_KINDS, K_KINDS, KINDS, write_tiny

ARCHITECTURES = representatives(pairs=True)
TIERS = tuple(available_tiers())
DRAWN = 18  # enough that prompts which trickle in one token a step all meet
PROMPT = tuple((53 * i * i + 7 * i + 40) % 256 + 3 for i in range(70))


def stranger(i):
    return [100 + 17 * i, 60 + i][: 1 + i % 2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Path of a tiny model of an architecture."""
    folder = tmp_path_factory.mktemp("tiny")
    return cache(lambda architecture: write_tiny(folder / f"{architecture}.gguf", architecture))


@pytest.fixture(scope="module")
def expected(tiny):
    """What the simplest run of a tiny model gives: one thread, alone, the prompt whole."""

    @cache
    def outcome(architecture, sampled, profile="int8"):
        setting = Setting(TIERS[0], 1, 1, WHOLE, sampled, 32)
        return observe(tiny(architecture), setting, PROMPT, stranger, DRAWN, profile=profile)

    return outcome


def test_all_pairs_are_covered():
    rows = all_pairs(FACTORS)
    for a, b in combinations(FACTORS, 2):
        assert {(row[a], row[b]) for row in rows} == set(product(FACTORS[a], FACTORS[b]))
    assert len(rows) <= 18


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("threads", FACTORS["threads"])
@pytest.mark.parametrize("tier", TIERS)
def test_no_setting_changes_a_bit(tiny, expected, tier, threads, sampled):
    """The full product on one architecture."""
    for i, (batch, chunk) in enumerate(product(FACTORS["batch"], FACTORS["chunk"])):
        page_size = FACTORS["page_size"][(i + i // 3 + threads) % 3]
        setting = Setting(tier, threads, batch, chunk, sampled, page_size)
        found = observe(tiny("llama"), setting, PROMPT, stranger, DRAWN)
        assert found.differs(expected("llama", sampled)) == [], setting


MODELS = [*product(ARCHITECTURES, ("int8",)), *product(representatives(), ("fp32",))]


@cache
def dealt():
    """Two rows of settings for each model, of different tiers if there are two.

    Between them all pairs of settings meet, but for those with several threads, which every eighth model has, in few
    steps: waiting for each other they take ten times the processor time on a busy machine.
    """
    paired = {"tier": TIERS} | FACTORS | {"threads": (1,)}
    rows, found = all_pairs(paired), {}
    for i, model in enumerate(MODELS):
        first, *others = rows[i % len(rows) :] + rows[: i % len(rows)]
        second = next((row for row in others if row["tier"] != first["tier"]), others[0])
        several = {"threads": FACTORS["threads"][i // 8 % 2 + 1], "chunk": 64, "batch": 3}
        found[model] = [first, second, *([first | several] if i % 8 == 7 else [])]
    return found


def test_all_pairs_are_dealt_out():
    rows = [row for share in dealt().values() for row in share]
    paired = {"tier": TIERS} | {name: values for name, values in FACTORS.items() if name != "threads"}
    for a, b in combinations(paired, 2):
        assert {(row[a], row[b]) for row in rows} >= set(product(paired[a], paired[b]))
    assert {row["threads"] for row in rows} == set(FACTORS["threads"])


def check_rows(rows, tiny, expected, architecture, profile):
    for row in rows:
        found = observe(tiny(architecture), Setting(**row), PROMPT, stranger, DRAWN, profile=profile)
        assert found.differs(expected(architecture, row["sampled"], profile)) == [], row


@pytest.mark.parametrize(
    ("architecture", "profile"),
    [
        pytest.param(*model, marks=[pytest.mark.native] if model in {("gemma3", "int8"), ("llama", "fp32")} else [])
        for model in MODELS
    ],
)
def test_no_pair_of_settings_changes_a_bit(tiny, expected, architecture, profile):
    check_rows(dealt()[architecture, profile], tiny, expected, architecture, profile)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "profile"), MODELS)
def test_no_pair_of_settings_changes_a_bit_of_any_model(tiny, expected, architecture, profile):
    """Each pair of settings on each model."""
    rows = all_pairs({"tier": TIERS} | FACTORS, seed=ARCHITECTURES.index(architecture))
    check_rows(rows, tiny, expected, architecture, profile)


def test_the_outcomes_are_worth_comparing(expected):
    """Random models could say one token for ever; these do not."""
    for architecture in ARCHITECTURES:
        greedy, sampled = expected(architecture, False), expected(architecture, True)
        assert len(set(greedy.tokens)) > 4
        assert greedy.tokens != sampled.tokens
        assert len(set(greedy.logits.argmax(axis=1))) > 20
        assert greedy.tokens[0] == greedy.logits[-1].argmax()
        floats = expected(architecture, False, "fp32").logits.view(np.float32)
        assert 0 < np.abs(greedy.logits / 65536 - floats).max() < 0.2 * np.abs(floats).max()


REPRESENTED = [
    pytest.param(name, marks=[] if name in representatives() else pytest.mark.slow) for name in STORED
]  # the others' operations are among those of these


@pytest.mark.parametrize("architecture", REPRESENTED)
@pytest.mark.native
def test_the_reference_equals_native(tiny, expected, architecture):
    model = intact.load(tiny(architecture), executor="reference", page_size=16, chunk=9)
    count = 26  # beyond Gemma's window
    assert np.array_equal(model.logits(PROMPT[:count], raw=True)[0], expected(architecture, False).logits[:count])
    fast = intact.load(tiny(architecture))
    for parameters in ({"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.01, "seed": 5}, {}):
        slow, quick = (
            each.generate([PROMPT[:7], PROMPT[3:12]], n=2, max_tokens=4, logprobs=True, **parameters)
            for each in (model, fast)
        )
        assert slow == quick


@pytest.mark.parametrize("architecture", REPRESENTED)
def test_the_reference_equals_native_in_wide_formats(tmp_path, architecture):
    path = write_tiny(tmp_path / "model.gguf", architecture, K_KINDS, heads=4, kv_heads=2, head_width=64)
    text = PROMPT[:10]
    expected, _ = intact.load(path, executor="reference").logits(text, raw=True)
    assert np.array_equal(intact.load(path, threads=2, chunk=4).logits(text, raw=True)[0], expected)


@pytest.mark.parametrize("kind", sorted({*KINDS, *K_KINDS, *IQ_KINDS}))
def test_the_reference_equals_native_on_every_tier_in_every_format(tmp_path, monkeypatch, kind):
    """A format in all matrices, embedding and head included."""
    path = write_tiny(tmp_path / "model.gguf", "qwen2", [kind], seed=3, layers=1, heads=4, head_width=64, context=64)
    text = PROMPT[:12]
    expected, _ = intact.load(path, executor="reference").logits(text, raw=True)
    for tier in TIERS:
        monkeypatch.setenv("INTACT_ISA", tier)
        assert np.array_equal(intact.load(path, threads=2).logits(text, raw=True)[0], expected), tier


@pytest.mark.parametrize("bits", [8, 4])
def test_floats_become_the_same_codes_in_both_executors(tmp_path, bits):
    path = write_tiny(tmp_path / "model.gguf", "qwen3", ["F32", "BF16", "F16"], layers=1, tied=True)
    native, reference = (intact.load(path, bits=bits, executor=name) for name in ("native", "reference"))
    text = PROMPT[:12]
    assert np.array_equal(native.logits(text, raw=True)[0], reference.logits(text, raw=True)[0])
