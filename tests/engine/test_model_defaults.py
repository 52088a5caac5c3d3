"""Sampling settings that a model's own files recommend are read, and applied by nothing that was not asked to."""

import dataclasses
import json

import numpy as np
import pytest

import intact
from intact.checkpoints.formats import open_checkpoint
from intact.engine.sampling.model_defaults import SamplingDefaults, sampling_defaults
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS

G = "general.sampling."


def of_gguf(tmp_path, **settings):
    path = write_tiny(tmp_path / "tiny.gguf", metadata={G + name: value for name, value in settings.items()})
    with open_checkpoint(path) as checkpoint:
        return sampling_defaults(checkpoint)


@pytest.fixture
def of_config(tmp_path):
    name, variant = next(iter(VARIANTS.items()))
    folder = write_folder(tmp_path / "model", variant, name)

    def read(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "generation_config.json").write_text(text)
        with open_checkpoint(folder) as checkpoint:
            return sampling_defaults(checkpoint)

    return read


def test_a_gguf_file_has_them_as_the_decimals_that_were_meant(tmp_path):
    found = of_gguf(tmp_path, temp=0.6, top_k=20, top_p=0.95, min_p=0.01)
    assert found == SamplingDefaults(
        "general.sampling.*", (("temperature", 0.6), ("top_p", 0.95), ("top_k", 20), ("min_p", 0.01))
    )


def test_a_model_without_them_has_none(tmp_path):
    assert of_gguf(tmp_path) == SamplingDefaults()


def test_a_penalty_over_a_part_of_the_text_is_left_out(tmp_path):
    assert "penalty_repeat" in of_gguf(tmp_path, penalty_repeat=1.1, penalty_last_n=64).left_out[0]
    assert of_gguf(tmp_path, penalty_repeat=1.1, penalty_last_n=-1).values == (("repetition_penalty", 1.1),)
    assert of_gguf(tmp_path, penalty_repeat=1.0).values == (("repetition_penalty", 1.0),)


def test_settings_that_are_impossible_or_unknown_are_named(tmp_path):
    found = of_gguf(tmp_path, temp=-1.0, top_p=float("nan"), top_k=np.arange(3), mirostat=2, sequence="kp", min_p=0.05)
    assert found.values == (("min_p", 0.05),)
    assert len(found.left_out) == 5
    assert any("temp = -1.0: temperature must lie in [0, 1000]" in text for text in found.left_out)
    assert "general.sampling.mirostat = 2: not supported" in found.left_out


def test_a_folder_has_them_in_its_generation_config(of_config):
    found = of_config({"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05})
    values = (("temperature", 0.7), ("top_p", 0.8), ("top_k", 20), ("repetition_penalty", 1.05))
    assert found == SamplingDefaults("generation_config.json", values)
    assert of_config({"do_sample": False, "temperature": 0.7, "top_p": 0.8}).values == (("temperature", 0.0),)
    assert of_config({"eos_token_id": 2, "num_beams": 1}) == SamplingDefaults()


@pytest.mark.parametrize("content", ["{", "[]", '{"top_k": NaN}', "{}" * 3])
def test_a_damaged_generation_config_is_named(of_config, content):
    found = of_config(content)
    assert found.values == ()
    assert "generation_config.json" in found.left_out[0]


def test_of_a_folder_too_what_has_no_parameter_is_named(of_config):
    found = of_config({"top_k": -1, "num_beams": 4, "temperature": "hot", "top_p": 0.9})
    assert found.values == (("top_p", 0.9),)
    assert [text.partition(" = ")[0] for text in found.left_out] == ["temperature", "top_k", "num_beams"]


def test_a_loaded_model_states_them_and_generates_as_before(tmp_path):
    plain = intact.load(write_tiny(tmp_path / "plain.gguf"), threads=1)
    path = write_tiny(tmp_path / "stated.gguf", metadata={G + "temp": 5.0, G + "top_k": 3})
    stated = intact.load(path, threads=1)
    assert dict(stated.sampling_defaults.values) == {"temperature": 5.0, "top_k": 3}
    with pytest.raises(dataclasses.FrozenInstanceError):
        stated.sampling_defaults.values = ()
    prompt = [1, 5, 9]
    assert stated.generate([prompt], max_tokens=8)[0][0].tokens == plain.generate([prompt], max_tokens=8)[0][0].tokens
