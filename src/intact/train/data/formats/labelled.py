"""Labelled texts and conversations, for heads: {"text", "label"} or {"messages", "label"}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from intact._base.errors import ParameterError
from intact.train.data.base import EXTRAS, RowFormat, messages_of, text_of, variables_of
from intact.train.data.encoder import Encoder, TooLongError
from intact.train.examples import Labelled


class LabelledFormat(RowFormat):
    """A sequence with the number of its class; a head reads the row of the last token."""

    name = "labelled"
    summary = "Texts or conversations with a class, for heads: {text, label} or {messages, label}"
    needs = ("label",)
    allows = ("text", "messages", *EXTRAS)

    @classmethod
    def row(cls, value: Mapping[str, Any], encoder: Encoder) -> Labelled:
        """Return the sequence and its class; true and false are the classes 1 and 0."""
        label = value["label"]
        if not isinstance(label, int) or not 0 <= label < 1 << 16:
            raise ParameterError(f"label is {label!r:.40}; expected the number of a class, from 0")
        if "messages" in value:
            ids = encoder.prompt_of(messages_of(value, "messages"), variables_of(value))
        else:
            ids = encoder.tokenizer.encode(text_of(value, "text"), special=False)
        if len(ids) > encoder.longest:
            if not encoder.cut:
                raise TooLongError(len(ids), encoder.longest)
            ids = ids[-encoder.longest :]
        return Labelled(np.array(ids, np.int32), int(label))
