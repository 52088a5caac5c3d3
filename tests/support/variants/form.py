"""The description of a tiny model, and a config.json as most of them have it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

VOCABULARY = 301
TOKENS = tuple((37 * i * i + 11 * i + 5) % VOCABULARY for i in range(40))
"""The text on which the models are compared: longer than the windows and the stretched waves."""


class Variant(NamedTuple):
    """A model: config.json, how its tensors are stored, and in how many files."""

    config: Mapping[str, Any]
    kind: str = "F32"
    files: int = 1
    prefix: str = ""


def config(architecture: str, kind: str, **others: Any) -> dict[str, Any]:
    """The contents of a config.json; `others` are added or stand in the place of what most have."""
    return {
        "architectures": [architecture],
        "model_type": kind,
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 112,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    } | others
