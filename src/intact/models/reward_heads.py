"""Reward models: a decoder's graph, with a head of their own in the place of a language model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LAYERS: Final = {
    "ForProcessRewardModel": ("score.0", "score.2"),
    "ForPrmModel": ("v_head.summary",),
    "ForSequenceClassification": ("score",),
}
"""The layers of heads (`intact.engine.reward_head`), by the ends of the class names in config.json."""
_LANGUAGE_MODEL: Final = "ForCausalLM"


def reward_layers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the layers of the head that a config.json's class has; none for language models."""
    names = metadata.get("architectures")
    ends = (end for name in (names if isinstance(names, list) else ()) for end in LAYERS if str(name).endswith(end))
    return LAYERS.get(next(ends, ""), ())


def language_model(name: str) -> str:
    """Return the class of the language model with the graph of a reward model's class; others as they are."""
    end = next((end for end in LAYERS if name.endswith(end)), None)
    return name if end is None else name.removesuffix(end) + _LANGUAGE_MODEL
