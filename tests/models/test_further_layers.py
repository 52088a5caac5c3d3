"""Layers that predict further tokens stand behind the others in files; the program leaves them aside."""

from pathlib import Path

import numpy as np
import pytest

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor, open_checkpoint
from intact.models import ARCHITECTURES, build_program
from intact.receipts.identity import measure
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS

NAMES = tuple(name for name, one in ARCHITECTURES.items() if one.has_further_layers)
FURTHER = ("nextn.eh_proj", "nextn.enorm", "attn_q", "attn_norm", "ffn_gate_exps")
HF_FURTHER = ("eh_proj", "enorm", "self_attn.q_proj", "input_layernorm", "mlp.experts.0.gate_proj", "shared_head.norm")


def further(name: str) -> Tensor:
    return Tensor(name, "F32", (6, 4, 2), np.ones(6 * 4 * 2, "<f4").view(np.uint8))


@pytest.mark.parametrize("architecture", NAMES)
def test_a_gguf_file_counts_them_among_its_layers(tmp_path: Path, architecture: str) -> None:
    gguf = ARCHITECTURES[architecture].gguf
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", architecture)) as checkpoint:
        count = int(checkpoint.metadata[f"{gguf}.block_count"])
        own = measure(build_program(checkpoint)).root
        more = {name: further(name) for name in (f"blk.{count}.{part}.weight" for part in FURTHER)}
        tensors = {**checkpoint.tensors, **more}
        counts = {f"{gguf}.block_count": count + 1, f"{gguf}.nextn_predict_layers": 1}
        whole = Checkpoint(checkpoint.path, "gguf", {**checkpoint.metadata, **counts}, tensors)
        assert measure(build_program(whole)).root == own
        with pytest.raises(ModelError, match=rf"blk\.{count}\."):
            build_program(Checkpoint(checkpoint.path, "gguf", checkpoint.metadata, tensors))


@pytest.mark.parametrize("name", ["deepseek-v3", "glm4-moe-lite", "glm4moe", "exaone-moe"])
def test_a_folder_counts_them_by_themselves(tmp_path: Path, name: str) -> None:
    with open_checkpoint(write_folder(tmp_path / "folder", VARIANTS[name], name)) as checkpoint:
        count = int(checkpoint.metadata["num_hidden_layers"])
        own = measure(build_program(checkpoint)).root
        more = {key: further(key) for key in (f"model.layers.{count}.{part}.weight" for part in HF_FURTHER)}
        tensors = {**checkpoint.tensors, **more}
        config = {**checkpoint.metadata, "num_nextn_predict_layers": 1}
        assert measure(build_program(Checkpoint(checkpoint.path, "safetensors", config, tensors))).root == own
        config["num_nextn_predict_layers"] = 0
        with pytest.raises(ModelError, match=rf"model\.layers\.{count}\."):
            build_program(Checkpoint(checkpoint.path, "safetensors", config, tensors))
