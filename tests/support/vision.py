"""Tiny random classifiers of images as folders of safetensors, the same bytes everywhere, and images for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from intact.measure.conformance.synthetic import random_floats
from support.folders import stored, write_safetensors


class VisionVariant(NamedTuple):
    """A model: config.json, what becomes of pixels, and how its tensors are stored."""

    config: Mapping[str, Any]
    pixels: Mapping[str, Any]
    kind: str = "F32"


_VIT = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": 16,
    "patch_size": 4,
    "num_channels": 3,
    "qkv_bias": True,
}
_COLOURS = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 16, "width": 16},
}
VISION = {
    "vit": VisionVariant(_VIT | {"id2label": {str(i): f"class {i}" for i in range(7)}}, _COLOURS),
    "vit-grey": VisionVariant(
        _VIT
        | {"image_size": [8, 12], "patch_size": [2, 3], "num_channels": 1, "qkv_bias": False, "layer_norm_eps": 1e-5}
        | {"id2label": {str(i): str(i) for i in range(33)}},
        {"image_mean": [0.5], "image_std": [0.25], "size": {"height": 8, "width": 12}},
        "F16",
    ),
}
"""Patches that are square and not, biases of queries or none, channels that are normed apart."""


def images(name: str, count: int = 9) -> np.ndarray:
    """Images for a model, values of pixels: uint8 (count, channels, height, width)."""
    config = VISION[name].config
    size = config["image_size"]
    height, width = size if isinstance(size, list) else (size, size)
    shape = (count, config["num_channels"], height, width)
    values = random_floats(f"images of {name}", (count, int(np.prod(shape[1:]))), 60.0)
    return np.clip(np.rint(values + 128), 0, 255).astype(np.uint8).reshape(shape)


def vision_values(config: Mapping[str, Any], seed: str) -> dict[str, np.ndarray]:
    """Random tensors by their names in safetensors."""
    width, hidden = config["hidden_size"], config["intermediate_size"]
    sides = [key if isinstance(key, list) else [key, key] for key in (config["image_size"], config["patch_size"])]
    (height, across), (patch, patch_across) = sides
    rows, channels = (height // patch) * (across // patch_across) + 1, config["num_channels"]
    pixels = channels * patch * patch_across

    def matrix(name: str, outputs: int, inputs: int, size: float = 1.0) -> np.ndarray:
        return random_floats(f"{seed}|{name}", (outputs, inputs), size / inputs**0.5)

    values: dict[str, np.ndarray] = {}
    start = "vit.embeddings."
    values[start + "cls_token"] = random_floats(f"{seed}|cls", (width,), 1.0).reshape(1, 1, width)
    values[start + "position_embeddings"] = random_floats(f"{seed}|places", (rows, width), 1.0)[None]
    projection = matrix("patches", width, pixels).reshape(width, channels, patch, patch_across)
    values[start + "patch_embeddings.projection.weight"] = projection
    linear = {
        "attention.attention.query": (width, width, 1.5),
        "attention.attention.key": (width, width, 1.5),
        "attention.attention.value": (width, width, 1.5),
        "attention.output.dense": (width, width, 1.0),
        "intermediate.dense": (hidden, width, 1.5),
        "output.dense": (width, hidden, 1.5),
    }
    for i in range(config["num_hidden_layers"]):
        layer = f"vit.encoder.layer.{i}."
        for name, (outputs, inputs, size) in linear.items():
            values[f"{layer}{name}.weight"] = matrix(layer + name, outputs, inputs, size)
            if config["qkv_bias"] or not name.startswith("attention.attention."):
                values[f"{layer}{name}.bias"] = random_floats(f"{seed}|{layer}{name}.bias", (outputs,), 0.3)
        for name in ("layernorm_before", "layernorm_after"):
            values[f"{layer}{name}.weight"] = 1 + random_floats(f"{seed}|{layer}{name}", (width,), 0.2)
            values[f"{layer}{name}.bias"] = random_floats(f"{seed}|{layer}{name}.bias", (width,), 0.2)
    values["vit.layernorm.weight"] = 1 + random_floats(f"{seed}|norm", (width,), 0.2)
    classes = len(config["id2label"])
    values["classifier.weight"] = matrix("classifier", classes, width, 2.0)
    for name, size in (
        (start + "patch_embeddings.projection", width),
        ("vit.layernorm", width),
        ("classifier", classes),
    ):
        values[name + ".bias"] = random_floats(f"{seed}|{name}.bias", (size,), 0.5)
    return values


def write_vision(folder: Path, name: str, changes: Mapping[str, Any] | None = None, **keys: Any) -> Path:
    """Write a model's folder.

    Parameters
    ----------
    changes : mapping
        Arrays that replace tensors, or None to leave one out.
    keys
        Keys of config.json that are replaced behind the making of tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variant = VISION[name]
    values = vision_values(variant.config, name) | dict(changes or {})
    tensors = {
        own: (variant.kind, array.shape, stored(array, variant.kind))
        for own, array in values.items()
        if array is not None
    }
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps({**variant.config, **keys}))
    (folder / "preprocessor_config.json").write_text(json.dumps(variant.pixels))
    return folder
