"""Reward models that the engine runs: the same bits whatever runs beside them, close to float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError, ModelError, ScorerError
from intact.engine.head_job import HeadsJob
from intact.engine.reward_head import RewardHead
from intact.executors.native import available_tiers
from intact.measure.conformance.synthetic import random_floats
from intact.tasks.score.rewards import open_reward
from intact.tasks.score.rewards.native import NativeReward
from support.folders import tensor_values, tokenizer_json, write_folder, write_safetensors
from support.variants import VARIANTS
from support.variants.form import Variant

CLASSES = {
    "qwen": "Qwen2ForProcessRewardModel",
    "skywork": "Qwen2ForPrmModel",
    "outcome": "Qwen2ForSequenceClassification",
}
LAYERS = {
    "qwen": {"score.0": (64, 64), "score.2": (2, 64)},
    "skywork": {"v_head.summary": (1, 64)},
    "outcome": {"score": (1, 64)},
}
TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}"
GOLDEN = {
    "qwen": [373313106, 288888585, 294347819],
    "skywork": [158534970, 481922379, 311647501],
    "outcome": [938986822, 931481915, 829342267],
    "math-shepherd": [514911147, 422175695, 901056151],
    "rlhflow": [1069153506, 1070657052, 1071535815],
}
"""The rewards of the steps in Q30: another number is another definition."""
QUESTION, STEPS = "What is 2 + 3 * 4?", ["First 3 * 4 = 12.", "Then 2 + 12 = 14.", "So it is 14."]


def head_tensors(family: str) -> dict[str, np.ndarray]:
    out = {}
    for layer, shape in LAYERS[family].items():
        out[f"{layer}.weight"] = random_floats(f"{family}|{layer}", shape, 0.15)
        if family != "outcome":
            out[f"{layer}.bias"] = random_floats(f"{family}|{layer}|bias", shape[:1], 0.3)
    return out


def write_reward(folder: Path, family: str, without: str = "", **changes: Any) -> Path:
    """A tiny reward model; a family that is no layered one is a language model."""
    variant: Variant = VARIANTS["qwen2"]
    name = CLASSES.get(family, "Qwen2ForCausalLM")
    config = variant.config | {"architectures": [name], "max_position_embeddings": 512} | changes
    values = tensor_values(config, family)
    if family in CLASSES:
        values = {key: value for key, value in values.items() if key != "lm_head.weight"} | head_tensors(family)
    values.pop(without, None)
    write_folder(folder, Variant(VARIANTS["qwen2"].config), family)
    stored = {key: ("F32", value.shape, value.astype("<f4").tobytes()) for key, value in values.items()}
    write_safetensors(folder / "model.safetensors", stored)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = tokenizer_json()
    special = {"content": "<extra_0>", "special": True, "normalized": False, "lstrip": False, "rstrip": False}
    last = max(token["id"] for token in tokenizer["added_tokens"])
    tokenizer["added_tokens"][-1] |= special | {"id": last, "single_word": False}
    tokenizer["model"]["vocab"] = {key: n for key, n in tokenizer["model"]["vocab"].items() if n != last}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return folder


def opened(family: str, folder: Path) -> NativeReward:
    reward = open_reward(f"{family}={folder}")
    assert isinstance(reward, NativeReward)
    return reward


def by_tier(tier: str) -> dict[str, Any]:
    return {"tier": tier, "threads": 3}


def test_a_head_is_close_to_float64(tmp_path: Path) -> None:
    for family in LAYERS:
        model = intact.load(write_reward(tmp_path / family, family), profile="fp32")
        job = HeadsJob(list(range(5, 40)))
        model.run([job])
        tensors = head_tensors(family)
        head = RewardHead(model.checkpoint.tensors, tuple(LAYERS[family]), 64, "fp32", 8)
        for row in job.results():
            x = np.frombuffer(row, "<f4").astype(float)
            for i, layer in enumerate(LAYERS[family]):
                x = np.maximum(x, 0) if i else x
                x = tensors[f"{layer}.weight"].astype(float) @ x + tensors.get(f"{layer}.bias", 0)
            assert head.reward(row) == pytest.approx(1 / (1 + np.exp(x[0] - x[1] if len(x) == 2 else -x[0])), abs=1e-5)


@pytest.mark.parametrize("family", ["qwen", "skywork", "outcome", "math-shepherd", "rlhflow"])
def test_rewards_have_the_same_bits_whatever_runs_beside(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_reward(tmp_path / family, family)
    reward = opened(family, folder)
    expected = reward.rewards(QUESTION, STEPS)
    assert len(expected) == len(STEPS)
    if family in ("qwen", "math-shepherd"):
        mark = "<extra_0>" if family == "qwen" else "ки"
        halves = mark[:1] + mark + mark[1:]  # another mark is left once the one within is taken out
        assert reward.rewards(QUESTION + halves, [step + halves for step in STEPS]) == expected
    assert len(set(expected)) == len(STEPS)
    assert [round(value * (1 << 30)) for value in expected] == GOLDEN[family]
    assert reward.rewards(QUESTION, STEPS[:2]) == expected[:2]  # a beginning by itself, with pages that are cached
    for options in ({"executor": "reference"}, {"chunk": 7}, {"page_size": 16}, *map(by_tier, available_tiers())):
        monkeypatch.setenv("INTACT_ISA", options.pop("tier", ""))
        other = opened(family, folder)
        other.model = intact.load(folder, **options)
        stream = other.model.stream([7] * 30, max_tokens=200, temperature=1.0, ignore_eos=True)
        next(stream)
        assert other.rewards(QUESTION, STEPS) == expected, options
    monkeypatch.setenv("INTACT_ISA", "")
    floats = opened(family, folder)
    floats.profile = "fp32"
    assert np.abs(np.subtract(floats.rewards(QUESTION, STEPS), expected)).max() < 0.1
    assert floats.digest != reward.digest


def test_every_row_is_handed_out(tmp_path: Path) -> None:
    model = intact.load(write_reward(tmp_path / "qwen", "qwen"))
    tokens = [(31 * i + 7) % 290 for i in range(100)]
    job, short = HeadsJob(tokens), HeadsJob(tokens[:40])
    model.run([job, short])
    assert short.results() == job.results()[:40]
    assert short.result() == short.results()[-1]
    assert len(set(job.results())) == 100


def test_what_is_no_reward_model_is_named(tmp_path: Path) -> None:
    folder = write_reward(tmp_path / "half", "qwen", without="score.2.weight")
    with pytest.raises(FormatError, match=r"tensor score\.2\.weight is missing"):
        open_reward(f"qwen={folder}").rewards(QUESTION, STEPS)
    folder = write_reward(tmp_path / "whole", "qwen")
    with pytest.raises(ScorerError, match="reads at most 511 tokens, got"):
        open_reward(f"qwen={folder}").rewards(QUESTION, ["x y z " * 300])
    tensors = intact.load(folder).checkpoint.tensors
    with pytest.raises(ModelError, match=r"score\.0\.weight, or its bias, has shapes \(64, 64\)"):
        RewardHead(tensors, ("score.0", "score.2"), 32, "int8", 8)
    with pytest.raises(ModelError, match="a reward has one or two"):
        RewardHead(tensors, ("score.0",), 64, "int8", 8)
