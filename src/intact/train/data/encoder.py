"""Rows become tokens, with the weights of the loss: 1 for tokens that the model shall learn to write, else 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from intact._base.errors import ParameterError
from intact.text import Tokenizer
from intact.text.generation_marks import render_with_marks
from intact.text.template import DEFAULT_NOW, Message, with_argument_values
from intact.train.examples import TrainExample

LossOn = Literal["assistant", "last", "all"]
LOSS_ON: Final = ("assistant", "last", "all")
"""Tokens that count: all turns of the assistant (and completions), only its last turn, or every token."""


@dataclass(frozen=True)
class Encoder:
    """Tokenizer and options of a run's data.

    Attributes
    ----------
    tokenizer : Tokenizer
    longest : int
        Maximum number of tokens of a sequence.
    loss_on : {"assistant", "last", "all"}
    as_chat : bool
        If true, prompts and completions in plain text become turns of user and assistant.
    cut : bool
        If true, longer sequences are cut at the end; otherwise they raise `TooLongError`.
    """

    tokenizer: Tokenizer
    longest: int
    loss_on: LossOn = "assistant"
    as_chat: bool = False
    cut: bool = False

    def text(self, text: str) -> TrainExample:
        """Return a plain text and the token that ends it; every token counts."""
        ids = self._ended(self.tokenizer.encode(text, special=False))
        return self._example(ids, [(1, len(ids))])

    def completion(self, prompt: str, completion: str) -> TrainExample:
        """Return a prompt and its completion; unless all tokens count, only those of the completion do.

        Raises
        ------
        ParameterError
            If the tokens of the prompt do not begin the tokens of both.
        """
        whole = self._ended(self.tokenizer.encode(prompt + completion, special=False))
        before = self.tokenizer.encode(prompt, special=False)
        before = before[: len(before) - len(self.tokenizer.around[1])]
        if whole[: len(before)] != before:
            raise ParameterError(
                "the last token of the prompt extends into the completion, so no token begins where the completion "
                "does; move white space from the end of the prompt to the beginning of the completion"
            )
        return self._example(whole, [(1 if self.loss_on == "all" else len(before), len(whole))])

    def conversation(
        self, messages: Sequence[Message], variables: Mapping[str, Any] | None = None, *, first: int = 0
    ) -> TrainExample:
        """Return a conversation by the model's chat template, with weights for the turns of the assistant.

        Parameters
        ----------
        variables : mapping, optional
            Template variables, such as `tools`.
        first : int
            Number of the first message that may count.

        Raises
        ------
        ParameterError
            If there is no turn of the assistant, or the tokens of a turn cannot be found: neither by marks of the
            template, nor as the difference of the conversations that end before and after it.
        """
        messages = with_argument_values(messages)
        variables = {"now": DEFAULT_NOW, **(variables or {})}
        turns = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
        if not turns or turns[-1] < first:
            raise ParameterError("the conversation has no turn of the assistant")
        chosen = turns[-1:] if self.loss_on == "last" else [index for index in turns if index >= first]
        whole = self._encode(messages, variables, prompt=False)
        if self.loss_on == "all":
            return self._example(whole, [(1, len(whole))])
        spans = self._marked_spans(messages, variables, whole)
        if spans is None or len(spans) != len(turns):
            spans = [self._difference(messages, variables, index, whole) for index in chosen]
        return self._example(whole, [self._without_end(whole, *span) for span in spans[-len(chosen) :]])

    def prompt_of(self, messages: Sequence[Message], variables: Mapping[str, Any] | None = None) -> list[int]:
        """Return the tokens of a conversation that the assistant shall continue."""
        return self._encode(with_argument_values(messages), {"now": DEFAULT_NOW, **(variables or {})}, prompt=True)

    def _marked_spans(
        self, messages: Sequence[Message], variables: Mapping[str, Any], whole: list[int]
    ) -> list[tuple[int, int]] | None:
        """Return the spans of tokens that the template marks; None if it marks none, or not at bounds of tokens."""
        template = self.tokenizer.chat_template
        if template is None or self.tokenizer.spells_control_tokens(messages, variables):
            return None
        marked = render_with_marks(template, messages, variables)
        if marked is None or not marked.spans:
            return None
        spans = []
        for begin, end in marked.spans:
            before, within = (self.tokenizer.encode(marked.text[:at], bos=False) for at in (begin, end))
            if whole[: len(before)] != before or whole[: len(within)] != within:
                return None
            spans.append((len(before), len(within)))
        return spans

    def _difference(
        self, messages: Sequence[Message], variables: Mapping[str, Any], index: int, whole: list[int]
    ) -> tuple[int, int]:
        """Return the span of tokens between the conversations that end before and after a turn."""
        before = self._encode(messages[:index], variables, prompt=True)
        within = whole if index == len(messages) - 1 else self._encode(messages[: index + 1], variables, prompt=False)
        for ids, what in ((before, "before"), (within, "after")):
            if whole[: len(ids)] != ids:
                raise ParameterError(
                    f"the chat template renders the conversation that ends {what} turn {index + 1} differently than "
                    'the whole one, so the tokens of this turn cannot be told; set loss_on = "last", or split the '
                    "conversation"
                )
        return len(before), len(within)

    def _encode(self, messages: Sequence[Message], variables: Mapping[str, Any], *, prompt: bool) -> list[int]:
        given = {**variables, "add_generation_prompt": prompt}
        return self.tokenizer.encode_conversation(messages, given)

    def _ended(self, ids: list[int]) -> list[int]:
        end = self.tokenizer.eos_id
        return ids if end is None or ids[-1:] == [end] else [*ids, end]

    def _example(self, ids: list[int], spans: Sequence[tuple[int, int]]) -> TrainExample:
        if len(ids) > self.longest and not self.cut:
            raise TooLongError(len(ids), self.longest)
        weights = np.zeros(len(ids), np.int32)
        for begin, end in spans:
            weights[max(1, begin) : end] = 1
        tokens, weights = np.array(ids[: self.longest], np.int32), weights[: self.longest]
        if not weights.any():
            raise ParameterError(f"none of its {len(tokens)} tokens counts towards the loss")
        return TrainExample(tokens, weights)

    def _without_end(self, ids: list[int], begin: int, end: int) -> tuple[int, int]:
        """Return a span without the white space that templates write after the token that ends a turn."""
        last = next((at for at in range(end - 1, begin - 1, -1) if ids[at] in self.tokenizer.eos_ids), None)
        if last is None or self.tokenizer.decode(ids[last + 1 : end], continuation=True).strip():
            return begin, end
        return begin, last + 1


class TooLongError(ParameterError):
    """A sequence with more tokens than allowed."""

    def __init__(self, tokens: int, longest: int) -> None:
        super().__init__(f"it has {tokens:,} tokens, but at most {longest:,} are allowed")
