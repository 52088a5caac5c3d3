"""Mamba-3's folders: how its authors' program writes them, and what is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.models.ops import Gate, TrapezoidalScan
from support.folders import write_folder
from support.pytorch_writer import save_as_pytorch
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS


def folder_of(folder: Path, changes: Mapping[str, Any], name: str = "mamba3") -> Path:
    """A folder of a tiny model, whose config.json is then changed; None takes a key out."""
    write_folder(folder, VARIANTS[name], name)
    config = {**VARIANTS[name].config, **changes}
    own = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(own))
    return folder


def layer_of(**changes: Any) -> dict[str, Any]:
    return {"ssm_cfg": {**VARIANTS["mamba3"].config["ssm_cfg"], **changes}}


def test_a_config_as_the_authors_program_writes_it_names_no_architecture(tmp_path: Path) -> None:
    keys = ("d_model", "n_layer", "d_intermediate", "vocab_size", "ssm_cfg", "attn_layer_idx", "tie_embeddings")
    own = {key: VARIANTS["mamba3"].config[key] for key in keys} | {
        "attn_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 7,
    }
    bare = folder_of(tmp_path / "bare", {})
    (bare / "config.json").write_text(json.dumps(own))
    whole = folder_of(tmp_path / "whole", {})
    expected = intact.load(whole).logits(TOKENS, raw=True)[0]
    assert np.array_equal(intact.load(bare).logits(TOKENS, raw=True)[0], expected)
    save_as_pytorch(bare / "model.safetensors")  # pytorch_model.bin, as that program stores tensors
    assert not (bare / "model.safetensors").exists()
    assert np.array_equal(intact.load(bare).logits(TOKENS, raw=True)[0], expected)


def test_nets_have_a_width_of_a_multiple_of_128_or_are_not_there(tmp_path: Path) -> None:
    for name, nets in (("mamba3", 2), ("mamba3-turned", 0)):
        with open_checkpoint(folder_of(tmp_path / name, {}, name)) as checkpoint:
            program = build_program(checkpoint)
        scans = len(program.recurrent())
        assert sum(isinstance(op, Gate) for op in program.ops) == scans + nets
        assert all(isinstance(op, TrapezoidalScan) for op in program.recurrent())
        assert ("hidden" in program.buffers) == bool(nets)
    path = write_tiny(tmp_path / "tiny.gguf", "mamba3", ["F32"], hidden=96)
    assert intact.load(path).program.buffers["hidden"].width == 96


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ssm_cfg": {}}, "ssm_cfg: layer must be Mamba3 .others are not supported., found None"),
        (layer_of(layer="Mamba2"), "layer must be Mamba3"),
        (layer_of(is_mimo=True), "is_mimo is True, which is not supported"),
        (layer_of(is_outproj_norm=True), "is_outproj_norm is True, which is not supported"),
        (layer_of(new_thing=1), "ssm_cfg: new_thing is not supported"),
        (layer_of(headdim=48), "headdim must be a divisor of the number of channels, 128"),
        (layer_of(ngroups=3), "ngroups must be a divisor of the 8 heads"),
        (layer_of(d_state=257), "d_state must be an integer from 1 to 256"),
        (layer_of(rope_fraction=0.75), "rope_fraction must be 0.5 or 1.0"),
        (layer_of(d_state=2), "rope_fraction must be 0.5 or 1.0, and cover at least two of the 2 columns"),
        (layer_of(A_floor=2.0), "A_floor must be a positive number from 1e-09 to 1"),
        (layer_of(d_state=16), "mixer.in_proj.weight has shape"),
        ({"attn_layer_idx": [1]}, r"attn_layer_idx is \[1\]: attention layers are not supported"),
        ({"rms_norm": False}, "rms_norm is False, which is not supported"),
        ({"d_intermediate": 300}, "mlp.fc1.weight has shape"),
        ({"d_intermediate": None}, "mlp.fc1.weight has shape .256, 64., expected 0 . 0 rows"),
        ({"vocab_size": 290}, "301 rows, but vocab_size is 294"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        intact.load(folder_of(tmp_path, changes))


def test_sizes_of_a_gguf_file_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for key, value, problem in (
        ("ssm.inner_size", 98, "a multiple of the 6 heads"),
        ("ssm.group_count", 4, "a divisor of the 6 heads"),
        ("ssm.angle_count", 9, "an integer from 1 to 8"),
        ("ssm.slowest_decay", 2.0, "a positive number from 1e-09 to 1"),
    ):
        path = write_tiny(tmp_path / "tiny.gguf", "mamba3", metadata={f"mamba3.{key}": value})
        with pytest.raises(ModelError, match=problem):
            intact.load(path)
