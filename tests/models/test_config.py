"""Configurations: what published files leave out, and what cannot be right is refused by file and key."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from intact.errors import ModelError
from intact.formats.metadata import Metadata
from intact.models import build_program
from intact.models.gemma3 import Gemma3
from intact.models.rotary import read_gguf_scaling, read_hf_rope
from support.folders import VARIANTS, newer_gemma

LINEAR = {"rope_type": "linear", "factor": 8.0}


class Checkpoint(NamedTuple):
    """An open file, of which only the configuration is read."""

    metadata: dict[str, Any]
    format: str = "safetensors"
    path: Path = Path("some/model")
    tensors: dict[str, Any] = {}  # noqa: RUF012


def test_gemma_s_defaults_are_those_of_transformers() -> None:
    """google/gemma-3-4b-it's text_config, and in it what is left out."""
    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": LINEAR,
        "sliding_window": 1024,
    }
    found = Gemma3.read_config(Checkpoint({"text_config": text}))
    assert (found.heads, found.kv_heads, found.head_width, found.context) == (8, 4, 256, 131072)
    assert (found.query_width, found.eps, found.rope_base, found.rope_local_base) == (256, 1e-6, 1e6, 1e4)
    assert (found.width, found.layers, found.window, sum(found.local_layers)) == (2560, 34, 1024, 29)
    bare = Gemma3.read_config(Checkpoint({"text_config": {"model_type": "gemma3_text"}}))
    assert (bare.width, bare.hidden, bare.layers, bare.window, bare.head_width) == (2304, 9216, 26, 4096, 256)


def test_transformers_has_these_defaults() -> None:
    theirs = pytest.importorskip("transformers").Gemma3TextConfig().to_dict()
    ours = {key: value for key, value in Gemma3.hf_defaults.items() if key != "rope_theta"}  # a set of its own there
    assert {key: theirs[key] for key in ours} == ours


def test_a_scalar_that_is_left_out_is_gemma_s_own() -> None:
    config = {key: value for key, value in VARIANTS["gemma3"].config.items() if key != "query_pre_attn_scalar"}
    assert Gemma3.read_config(Checkpoint(config)).query_width == 256


@pytest.mark.parametrize("value", [1e-300, 0.5, 0, None, True, [], float("nan")])
def test_a_scalar_that_makes_no_sense_is_refused(value: object) -> None:
    config = {**VARIANTS["gemma3"].config, "query_pre_attn_scalar": value}
    with pytest.raises(ModelError, match=r"some/model: query_pre_attn_scalar must be a positive number from 1 to"):
        Gemma3.read_config(Checkpoint(config))


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
@pytest.mark.parametrize("name", [np.array([1, 2]), ["x", "y"], [["llama"]], 3, None, {}])
def test_an_architecture_that_is_no_name_is_refused(kind: str, name: object) -> None:
    key = "general.architecture" if kind == "gguf" else "architectures"
    with pytest.raises(ModelError, match=f"some/model: {key} is .*; known are"):
        build_program(Checkpoint({key: name}, kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.array([1, 2]), [], "dynamic", 3])
def test_a_scaling_of_unknown_type_is_refused(kind: object) -> None:
    with pytest.raises(
        ModelError, match=r"llama.rope.scaling.type must be none or linear or yarn or longrope \(others are not "
    ):
        read_gguf_scaling(Metadata({"llama.rope.scaling.type": kind}, "some/model", prefix="llama."))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scaling": LINEAR | {"partial_rotary_factor": 0.5}}, "rope scaling: partial_rotary_factor is 0.5"),
        ({"rope_parameters": LINEAR | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}, "rope_scaling": LINEAR}, "partial_rotary_factor is 0.5"),
        ({"rope_scaling": {"rope_type": ["linear"]}}, "rope scaling: rope_type must be default or linear"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope scaling: type must be default or linear or"),
    ],
)
def test_rotary_keys_that_would_be_ignored_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match="some/model: .*" + message):
        read_hf_rope(Metadata(changes, "some/model"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("rope_type", "yarn"), ("rope_type", "linear"), ("type", "linear"), ("factor", 2), ("partial_rotary_factor", 0.5)],
)
def test_local_layers_have_plain_rotations(key: str, value: object) -> None:
    config = json.loads(json.dumps(newer_gemma().config))
    config["text_config"]["rope_parameters"]["sliding_attention"][key] = value
    with pytest.raises(ModelError, match=f"rope_parameters: sliding_attention: {key} "):
        Gemma3.read_config(Checkpoint(config))
