"""Exports of training runs: read back bit for bit, in both formats and row orders; merged models; refusals."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats.safetensors import read_safetensors
from intact.models.adapters import read_adapter
from intact.train.base import Base
from intact.train.export import FORMS, export
from intact.train.export.modules import Module, scaled
from intact.train.running import Trained
from intact.train.settings import TrainSettings
from intact.train.state import TrainState
from support.folders import write_folder
from support.tiny import write_tiny
from support.training import random_run
from support.variants import VARIANTS
from support.variants.form import TOKENS

LORA = {"name": "lora", "rank": 4, "alpha": "8"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {name: write_folder(folder / name, VARIANTS[name], name) for name in ("llama", "phi3", "gemma3")}
    made |= {f"{name} gguf": write_tiny(folder / f"{name}.gguf", name) for name in ("llama", "phi3", "qwen2")}
    return made | {"blocks": write_tiny(folder / "blocks.gguf", kinds=["Q8_0"], heads=4)}


@pytest.mark.parametrize("form", ["peft", "gguf"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "llama gguf", "qwen2 gguf"])
def test_an_adapter_reads_back_bit_for_bit(models: Mapping[str, Path], tmp_path: Path, name: str, form: str) -> None:
    with Base.open(models[name]) as base:
        run = random_run(base)
        assert export(run, base, tmp_path / "out", form) == form
        own, found = run.adapter(), read_adapter(tmp_path / "out", base.checkpoint, base.program)
    assert own.changes.keys() == found.changes.keys()
    for matrix, halves in own.changes.items():
        for one, other in zip(halves, found.changes[matrix], strict=True):
            assert np.array_equal(one, other), matrix


@pytest.mark.parametrize("form", ["peft", "gguf"])
@pytest.mark.parametrize("name", ["phi3", "phi3 gguf"])
def test_matrices_that_the_format_joins_become_one_module(
    models: Mapping[str, Path], tmp_path: Path, name: str, form: str
) -> None:
    with Base.open(models[name]) as base:
        run = random_run(base)
        export(run, base, tmp_path / "out", form)
        own, found = run.adapter(), read_adapter(tmp_path / "out", base.checkpoint, base.program)
    for matrix, (down, up) in own.changes.items():
        others = found.changes[matrix]
        assert np.abs(others[1] @ others[0] - up @ down).max() < 1e-6


def test_the_configuration_is_the_one_of_peft(models: Mapping[str, Path], tmp_path: Path) -> None:
    with Base.open(models["llama"]) as base:
        export(random_run(base), base, tmp_path / "out")
        export(random_run(base, LORA | {"layers": 1, "targets": "attn_q"}), base, tmp_path / "last")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (4, 8, "LORA")
    assert config["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    names = read_safetensors(tmp_path / "out" / "adapter_model.safetensors")
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in names
    last = json.loads((tmp_path / "last" / "adapter_config.json").read_text())
    assert len(last["target_modules"]) == 1
    assert last["target_modules"][0].endswith("self_attn.q_proj")
    assert "layers.0." not in last["target_modules"][0]


@pytest.mark.parametrize("alpha", ["8", "7/3", "0.1"])
def test_the_scale_is_kept_apart_only_where_that_is_exact(alpha: str) -> None:
    random = np.random.default_rng(5)
    factor = np.float32(float(Fraction(alpha)) / 4)
    up = random.normal(size=(40, 4)).astype(np.float32) * factor
    found = scaled([Module("m", np.ones((4, 8), np.float32), up)], Fraction(alpha), 4)
    assert np.array_equal(found.modules[0].up * np.float32(found.alpha / 4), up)
    assert found.alpha == 8 or alpha != "8"


@pytest.mark.parametrize("name", ["llama", "llama gguf"])
def test_a_merged_model_computes_what_base_and_adapter_do(
    models: Mapping[str, Path], tmp_path: Path, name: str
) -> None:
    with Base.open(models[name]) as base:
        run = random_run(base)
        export(run, base, tmp_path / "merged", "merged")
        export(run, base, tmp_path / "adapter")
    with intact.load(models[name], profile="fp32", adapters={"a": tmp_path / "adapter"}, adapter="a") as model:
        apart = model.logits(TOKENS)
        plain = model.generate(TOKENS[:8], max_tokens=1, adapter="")
    with intact.load(tmp_path / "merged", profile="fp32") as model:
        together = model.logits(TOKENS)
    assert plain
    assert np.abs(apart - together).max() < 1e-4 * np.ptp(apart)
    with intact.load(models[name], profile="fp32") as model:
        assert np.abs(apart - model.logits(TOKENS)).max() > 0.05 * np.ptp(apart)


def test_a_merged_model_is_quantised_on_the_way(models: Mapping[str, Path], tmp_path: Path) -> None:
    with Base.open(models["blocks"]) as base:
        run = random_run(base)
        export(run, base, tmp_path / "model.gguf", "merged", spec="q8_0")
        export(run, base, tmp_path / "merged", "merged")
        with pytest.raises(ParameterError, match="needs a type for its matrices"):
            export(run, base, tmp_path / "other.gguf", "merged")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["merged", "model.gguf"]
    with intact.load(tmp_path / "merged", profile="fp32") as model:
        whole = model.logits(TOKENS)
    with intact.load(tmp_path / "model.gguf", profile="fp32") as model:
        assert 0 < np.abs(whole - model.logits(TOKENS)).max() < 0.05 * np.ptp(whole)


@pytest.mark.parametrize("name", ["llama", "llama gguf", "gemma3"])
def test_trained_tensors_replace_the_models_own(models: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    with Base.open(models[name]) as base:
        run = random_run(base, "full")
        doubled = {key: values * np.float32(0.5) for key, values in run.state.tensors.items()}
        run = Trained(run.out, run.settings, TrainState(0, doubled, {}), run.receipt)
        export(run, base, tmp_path / "merged")
    with Base.open(tmp_path / "merged") as base:
        for key, values in TrainSettings(parameters="full").parameters.start(base.program, 0).items():
            assert np.array_equal(values, doubled[key]), key


def test_vectors_read_back(models: Mapping[str, Path], tmp_path: Path) -> None:
    with Base.open(models["llama gguf"]) as base:
        run = random_run(base, "vector")
        assert export(run, base, tmp_path / "v.gguf") == "gguf"
        found = read_adapter(tmp_path / "v.gguf", base.checkpoint, base.program)
    assert found.vectors.keys() == run.adapter().vectors.keys()
    assert all(np.array_equal(found.vectors[layer], values) for layer, values in run.adapter().vectors.items())


def test_a_head_is_written_as_safetensors(models: Mapping[str, Path], tmp_path: Path) -> None:
    with Base.open(models["llama gguf"]) as base:
        run = random_run(base, {"name": "head", "classes": 3})
        assert export(run, base, tmp_path / "head.safetensors") == "head"
    assert read_safetensors(tmp_path / "head.safetensors")["head.weight"].shape == (3, 96)


def test_what_does_not_suit_the_run_is_refused_and_nothing_is_written(
    models: Mapping[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    with Base.open(models["llama gguf"]) as base:
        run = random_run(base)
        broken = {name: values + np.float32("inf") for name, values in run.state.tensors.items()}
        for one, to, form, message in (
            (run, "new", "head", "trained lora, which can be exported as peft, gguf, merged, not as head"),
            (random_run(base, "full"), "new", "peft", "trained full"),
            (run, "there", "peft", "already exists"),
            (run, "there", "gguf", "already exists"),
            (run, "there", "merged", "already exists"),
            (Trained(run.out, run.settings, TrainState(0, broken, {}), run.receipt), "new", "peft", "diverged"),
        ):
            with pytest.raises(ParameterError, match=message):
                export(one, base, tmp_path / to, form)
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
    assert not list((tmp_path / "there").iterdir())


def test_every_form_has_parameters_that_it_suits(models: Mapping[str, Path]) -> None:
    from intact.train.export.run import forms_of

    with Base.open(models["llama gguf"]) as base:
        found = {form for kind in ("lora", "vector", "full", "head") for form in forms_of(random_run(base, kind))}
    assert found == set(FORMS)
