"""Preferences: {"prompt", "chosen", "rejected"}, or {"chosen", "rejected"} with the prompt in both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from intact._base.errors import ParameterError
from intact.train.data.base import EXTRAS, RowFormat, is_chat, messages_of, text_of
from intact.train.data.encoder import Encoder
from intact.train.data.formats.prompt_completion import answered
from intact.train.examples import Pair


class PreferenceFormat(RowFormat):
    """Two answers to one prompt, of which the first is preferred."""

    name = "preference"
    summary = "Preferred and rejected answers, as text or as messages: {prompt, chosen, rejected}"
    needs = ("chosen", "rejected")
    allows = ("prompt", *EXTRAS)

    @classmethod
    def row(cls, value: Mapping[str, Any], encoder: Encoder) -> Pair:
        """Return both answers after the prompt."""
        encoder = replace(encoder, loss_on="assistant")
        value = value if "prompt" in value else _with_prompt(value)
        chosen, rejected = (answered(value, name, encoder) for name in ("chosen", "rejected"))
        begins = [int(np.flatnonzero(one.weights)[0]) for one in (chosen, rejected)]
        if begins[0] != begins[1] or not np.array_equal(chosen.tokens[: begins[0]], rejected.tokens[: begins[1]]):
            raise ParameterError("chosen and rejected do not follow the same prompt")
        if np.array_equal(chosen.tokens, rejected.tokens):
            raise ParameterError("chosen and rejected are the same")
        return Pair(chosen, rejected)


def _with_prompt(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose answers begin with the prompt with the prompt on its own: their longest common beginning.

    For text, the space before the first word that differs belongs to the answers.
    """
    if is_chat(value, "chosen", "rejected"):
        both = [messages_of(value, name) for name in ("chosen", "rejected")]
        pairs = zip(*both, strict=False)
        common = next((at for at, (one, other) in enumerate(pairs) if one != other), min(map(len, both)))
        prompt: Any = both[0][:common]
    else:
        texts = [text_of(value, name) for name in ("chosen", "rejected")]
        prompt = _common(*texts)
        if prompt.endswith(" "):
            prompt = prompt[:-1]
        common = len(prompt)
        both = texts  # type: ignore[assignment]
    if not prompt:
        raise ParameterError(
            "chosen and rejected have no common beginning; expected a prompt in both, or a member prompt"
        )
    return {**value, "prompt": prompt, "chosen": both[0][common:], "rejected": both[1][common:]}


def _common(one: str, other: str) -> str:
    """Return the longest common beginning of two texts."""
    end = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:end]
