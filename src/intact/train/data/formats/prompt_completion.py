"""Prompts with completions: {"prompt", "completion"}, as text or as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intact.train.data.base import EXTRAS, RowFormat, check_assistant, is_chat, messages_of, text_of, turn, variables_of
from intact.train.data.encoder import Encoder
from intact.train.examples import TrainExample


class PromptCompletionFormat(RowFormat):
    """A prompt and the completion that counts.

    Text is joined, as TRL does, or becomes a turn of the user and one of the assistant, as in mlx-lm's folders.
    """

    name = "prompt_completion"
    summary = "Prompts with completions, as text or as messages: {prompt, completion}; completions count"
    needs = ("prompt", "completion")
    allows = EXTRAS

    @classmethod
    def row(cls, value: Mapping[str, Any], encoder: Encoder) -> TrainExample:
        """Return prompt and completion as one sequence."""
        return answered(value, "completion", encoder)


def answered(value: Mapping[str, Any], answer: str, encoder: Encoder) -> TrainExample:
    """Return the prompt of a row together with one of its answers, whose tokens count.

    Raises
    ------
    ParameterError
        If a member is malformed.
    """
    variables = variables_of(value)
    if is_chat(value, "prompt", answer):
        begun, added = messages_of(value, "prompt"), messages_of(value, answer)
    else:
        prompt, text = text_of(value, "prompt"), text_of(value, answer)
        if not encoder.as_chat:
            return encoder.completion(prompt, text)
        begun, added = [turn("user", prompt)], [turn("assistant", text)]
    check_assistant(added, answer)
    return encoder.conversation([*begun, *added], variables, first=len(begun))
