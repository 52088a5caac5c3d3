"""The contract on real models: all pairs of settings, a batch, and the reference in a teacher-forced pass.

After a prompt of 70 the smaller model draws 64 tokens, the larger 16. The scalar tier is slow: it draws a few after a
short prompt, in all pairs for the smaller model alone. What it does with long ones is shown on tiny models
(test_contract_engine.py).
"""

from pathlib import Path

import numpy as np
import pytest

import intact
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import available_tiers
from intact.text import Tokenizer
from support.models import real_model
from support.settings import FACTORS, WHOLE, Outcome, Setting, all_pairs, observe

MODELS = ("smollm2-135m", "qwen-coder-0.5b")
TIERS = tuple(available_tiers())
PAGES = FACTORS["page_size"]
PAIRED = {"tier": TIERS} | {name: values for name, values in FACTORS.items() if name != "page_size"}
ROWS = [Setting(**row, page_size=PAGES[i % 3]) for i, row in enumerate(all_pairs(PAIRED, seed=3, tries=100))]
LENGTH, DRAWN = 70, dict(zip(MODELS, (64, 16), strict=True))
SCALAR_LENGTH = 9
TEXT = (
    "An integer has no rounding error, and a sum of integers has no order. The water of the lake was still, and far "
    "away, behind the last house of the village, somebody was counting aloud: one, two, three, four, five, six, seven. "
    "It was the summer of 1954, and the bread cost 12 pence. def add(first, second):\n    return first"
)


def name_of(setting: Setting) -> str:
    chunk = "whole" if setting.chunk == WHOLE else setting.chunk
    draws = "sampled" if setting.sampled else "greedy"
    return f"{setting.tier}-{setting.threads}-batch{setting.batch}-{chunk}-{draws}-page{setting.page_size}"


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, int, int, bool], Outcome]:
    """Each model's plainest run: one thread of the best tier, alone, the prompt whole. All others must equal it."""
    return {}


def stranger(i: int) -> list[int]:
    return [1000 + 717 * i, 260 + i][: 1 + i % 2]


def prompt(path: Path, length: int) -> list[int]:
    with open_checkpoint(path) as checkpoint:
        return Tokenizer.from_checkpoint(checkpoint).encode(TEXT)[:length]


def cases():
    """Rows of settings for each model; on the scalar tier for the first, where a short prompt shows the chunk.

    Every run takes all rows for the smaller model and every other one for the larger; the rest is for the nightly run.
    """
    for name in MODELS:
        for i, setting in enumerate(ROWS):
            if setting.tier != "scalar" or (name == MODELS[0] and setting.chunk != 64):
                longest = setting.tier == "scalar" and setting.batch == 8 and setting.chunk == 1
                marks = [pytest.mark.nightly] if longest or (name == MODELS[1] and i % 2) else []
                yield pytest.param(name, setting, id=f"{name}-{name_of(setting)}", marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "setting"), list(cases()))
def test_no_pair_of_settings_changes_a_bit(outcomes, name, setting):
    path = real_model(name)
    length, drawn = LENGTH, DRAWN[name]
    if setting.tier == "scalar":  # little, but enough for all to be there at once
        length, drawn = SCALAR_LENGTH, 6 if setting.chunk == WHOLE else SCALAR_LENGTH + 2 * (setting.batch - 1)
    tokens, key = prompt(path, length), (name, length, drawn, setting.sampled)
    if key not in outcomes:
        plain = Setting(TIERS[0], 1, 1, WHOLE, setting.sampled, 32)
        outcomes[key] = observe(path, plain, tokens, stranger, drawn)
    found, expected = observe(path, setting, tokens, stranger, drawn), outcomes[key]
    assert len(found.tokens) == drawn
    assert np.array_equal(found.logits, expected.logits)
    assert found.tokens == expected.tokens
    assert found.logprobs == expected.logprobs


@pytest.mark.parametrize("name", [MODELS[0], pytest.param(MODELS[1], marks=pytest.mark.slow)])
def test_tiers_and_threads_agree_on_a_short_text(monkeypatch, name):
    """A short form of the test above, which every run has for the smaller model."""
    path, found = real_model(name), []
    for tier, threads, chunk in zip(TIERS, (2, 1, 3), (64, 2, 64), strict=False):
        monkeypatch.setenv("INTACT_ISA", tier)
        model = intact.load(path, threads=threads, chunk=chunk)
        assert model.executor.description["tier"] == tier
        found.append(model.logits(prompt(path, 5), raw=True)[0])
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize(
    ("name", "length"),
    [
        (MODELS[0], 2),
        pytest.param(MODELS[0], 24, marks=pytest.mark.slow),
        pytest.param(MODELS[1], 3, marks=pytest.mark.slow),
    ],
)
def test_the_reference_equals_native_in_a_teacher_forced_pass(name, length):
    path = real_model(name)
    native, reference = (intact.load(path, executor=executor) for executor in ("native", "reference"))
    tokens = prompt(path, length)
    assert np.array_equal(native.logits(tokens, raw=True)[0], reference.logits(tokens, raw=True)[0])
