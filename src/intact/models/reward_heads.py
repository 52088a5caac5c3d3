"""Reward models and rerankers: another model's architecture with a head of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint

LAYERS: Final = {
    "ForProcessRewardModel": ("score.0", "score.2"),
    "ForPrmModel": ("v_head.summary",),
    "ForSequenceClassification": ("score",),
}
"""Layers of heads (`intact.engine.reward_head`), by the ends of class names in config.json."""
_LANGUAGE_MODEL: Final = "ForCausalLM"


def reward_layers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the layers of the head for the class in a config.json; empty for language models."""
    names = metadata.get("architectures")
    ends = (end for name in (names if isinstance(names, list) else ()) for end in LAYERS if str(name).endswith(end))
    return LAYERS.get(next(ends, ""), ())


ENCODER_HEADS: Final = (
    ("pooler.dense", "classifier"),
    ("classifier.dense", "classifier.out_proj"),
    ("cls", "cls.output"),
)
"""The two layers in the head of an encoder reranker: of BERT, of RoBERTa, and of RoBERTa in GGUF files. The output of
the first layer passes through tanh.
"""
_PREFIXES: Final = ("", "bert.", "roberta.")


def encoder_head(checkpoint: Checkpoint) -> tuple[str, str]:
    """Return the names of the layers of a reranker's head, without `.weight` and `.bias`.

    Raises
    ------
    ModelError
        If the checkpoint has no such head, i.e. it is not a reranker.
    """
    names = checkpoint.tensors
    for first, second in ENCODER_HEADS:
        stems = [
            [prefix + stem for prefix in _PREFIXES if f"{prefix}{stem}.weight" in names] for stem in (first, second)
        ]
        if all(stems):
            return stems[0][0], stems[1][0]
    raise ModelError("its files have no head of two layers, such as classifier.dense and classifier.out_proj")


def language_model(name: str) -> str:
    """Return the language model class with the architecture of a reward model's class; other names unchanged."""
    end = next((end for end in LAYERS if name.endswith(end)), None)
    return name if end is None else name.removesuffix(end) + _LANGUAGE_MODEL
