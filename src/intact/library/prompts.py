"""Convert prompts, given as strings, token ids or messages, to a model's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from intact._base.errors import ParameterError
from intact.engine.model import LoadedModel
from intact.engine.sampling.definitions import whole
from intact.text import ChatPrompt

Prompt: TypeAlias = str | Sequence[int] | ChatPrompt


def as_prompts(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """Return one prompt or several as a list.

    Raises
    ------
    ParameterError
        If there is no prompt, or an item is not a prompt.
    """
    if isinstance(prompts, str | bytes | ChatPrompt):
        return [prompts]
    many = list(as_sequence(prompts, "prompts"))
    if not many:
        raise ParameterError("there is no prompt: give a string, token ids, or a list of these")
    each = [isinstance(item, str | bytes | ChatPrompt) or is_sequence(item) for item in many]
    if any(each) and not all(each):
        item = many[each.index(False)]
        raise ParameterError(
            f"prompts contains something that is not a prompt: {item!r:.60}; give a string, token ids, or a "
            "list of these"
        )
    return many if any(each) else [many]


def tokens_of(model: LoadedModel, prompt: Prompt, what: str) -> list[int]:
    """Return the tokens of a prompt; `what` names it in error messages.

    Raises
    ------
    ParameterError
        If it is not a prompt, contains a token outside the vocabulary, or is a string longer than the context.
    """
    if isinstance(prompt, str | bytes):
        return model.tokenizer.encode(prompt, most=model.context)
    if isinstance(prompt, ChatPrompt):
        return prompt.encode(model.tokenizer, model.context)
    vocabulary, tokens = model.program.vocabulary, []
    for i, token in enumerate(as_sequence(prompt, what)):
        number = whole(token)
        if number is None:
            raise _no_token(i, token, what)
        if not 0 <= number < vocabulary:
            raise ParameterError(f"{what}: token {i} must lie in [0, {vocabulary}), got {token}")
        tokens.append(number)
    return tokens


def _no_token(place: int, found: object, what: str) -> ParameterError:
    """Return the error for an item in a list of tokens that is not an integer."""
    if isinstance(found, Mapping):
        return ParameterError(f"{what} is a list of messages: use chat, or pass them as ChatPrompt(messages)")
    if isinstance(found, str | bytes | ChatPrompt) or is_sequence(found):
        return ParameterError(f"{what} must be one string or its token ids, got a list that contains {found!r:.60}")
    return ParameterError(f"{what}: token {place} must be an integer, got {found!r:.60}")


def is_sequence(value: object) -> bool:
    """Return true if a value is a sequence or an array with at least one dimension."""
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)


def as_sequence(value: Any, what: str) -> Sequence[Any]:
    """Return a value that must be a sequence, but not a string.

    Raises
    ------
    ParameterError
        If it is anything else.
    """
    if isinstance(value, str | bytes) or not is_sequence(value):
        raise ParameterError(f"{what} must be a string or a list of token ids, got {value!r:.60}")
    sequence: Sequence[Any] = value
    return sequence
