"""Plain text: {"text"}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact.train.data.base import RowFormat, text_of
from intact.train.data.encoder import Encoder
from intact.train.examples import TrainExample


class TextFormat(RowFormat):
    """Text, every token of which counts; the token that ends a text follows it."""

    name = "text"
    summary = "Plain text, such as {text}; every token counts"
    needs = ("text",)

    @classmethod
    def row(cls, value: Mapping[str, Any], encoder: Encoder) -> TrainExample:
        """Return the text."""
        return encoder.text(text_of(value, "text"))
