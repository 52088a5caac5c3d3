"""PEFT's adapter folders: adapter_config.json and adapter_model.safetensors.

Source: https://huggingface.co/docs/peft/developer_guides/checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from intact._base.files import write_whole
from intact.checkpoints.formats.safetensors import Stored, write_safetensors
from intact.models.adapters import CONFIG
from intact.numerics.fp32 import Floats
from intact.train.export.folders import new_folder
from intact.train.export.modules import Scaled

WEIGHTS = "adapter_model.safetensors"


def write_peft(adapter: Scaled, to: Path, base: str, layers: int) -> None:
    """Write a PEFT folder.

    Parameters
    ----------
    to : Path
        Folder to be created.
    base : str
        Name of the model, as the configuration states it.
    layers : int
        Number of the model's layers.

    Raises
    ------
    ParameterError
        If the folder exists.
    """
    tensors: dict[str, Floats] = {}
    for module in adapter.modules:
        tensors[f"base_model.model.{module.name}.lora_A.weight"] = module.down
        tensors[f"base_model.model.{module.name}.lora_B.weight"] = module.up
    stored = [Stored(name, "F32", values.shape, 4 * values.size) for name, values in tensors.items()]
    with new_folder(to) as folder:
        write_safetensors(
            folder / WEIGHTS,
            stored,
            lambda name: np.ascontiguousarray(tensors[name], "<f4").tobytes(),
            {"format": "pt"},
        )
        write_whole(folder / CONFIG, json.dumps(_config(adapter, base, layers), indent=2) + "\n")


def _config(adapter: Scaled, base: str, layers: int) -> dict[str, Any]:
    ranks = {module.name: module.rank for module in adapter.modules if module.rank != adapter.rank}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": int(adapter.alpha) if adapter.alpha.is_integer() else adapter.alpha,
        "lora_dropout": 0.0,
        "target_modules": _targets([module.name for module in adapter.modules], layers),
        "rank_pattern": ranks,
        "alpha_pattern": {name: adapter.alpha * rank / adapter.rank for name, rank in ranks.items()},
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "inference_mode": True,
    }


def _targets(names: list[str], layers: int) -> list[str]:
    """Return the last parts of module names where every layer has them, as PEFT expects; else whole names."""
    ends = sorted({name.rpartition(".")[2] for name in names})
    return ends if len(names) == layers * len(ends) else names
