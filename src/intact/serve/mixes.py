"""The shadows of mixes that requests name (docs/mixing.md), as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intact._base.errors import IntactError
from intact.engine.mixes import ChosenMix, shadow_messages
from intact.reason.backends.text_mix import TextMix
from intact.serve.errors import ApiError, as_api_error
from intact.serve.requests import SHADOW, ChatRequest, Extension, as_turns


def method_mix(chosen: ChosenMix | None, own: Extension) -> TextMix | None:
    """Return the mix that a method's completions are sampled from, or None.

    Raises
    ------
    ApiError
        400, if the shadow is not a string.
    """
    if chosen is None:
        return None
    if own.shadow is not None and not isinstance(own.shadow, str):
        raise ApiError(400, f"{SHADOW} must be a string with a reasoning method", SHADOW)
    return TextMix(chosen, own.shadow)


def shadow_turns(request: ChatRequest) -> list[Any]:
    """Return the shadow conversation: the shadow's messages, or the request's with the shadow as the last message.

    Raises
    ------
    ApiError
        400, if the shadow is neither a string nor messages, or the last message is not the user's.
    """
    shadow = request.intact.shadow
    if isinstance(shadow, str):
        try:
            return shadow_messages(as_turns(request.messages), shadow)
        except IntactError as error:
            raise as_api_error(error, (), SHADOW) from error
    if shadow is None or not shadow or isinstance(shadow[0], str | int | list):
        raise ApiError(400, f"{SHADOW} must be a string or a list of messages for this request", SHADOW)
    return as_turns(shadow, SHADOW)


def each_shadow(own: Extension, count: int) -> Sequence[str | list[int] | None]:
    """Return the shadows of a request's prompts, which are strings or lists of tokens.

    Raises
    ------
    ApiError
        400, if the shadow is a list of messages, or the numbers of shadows and prompts differ.
    """
    shadow = own.shadow
    if shadow is None:
        return [None] * count
    each: list[Any] = [shadow] if isinstance(shadow, str) or (shadow and isinstance(shadow[0], int)) else list(shadow)
    if not all(isinstance(one, str | list) for one in each):
        raise ApiError(400, f"{SHADOW} must be a string or a list of tokens for this request, not messages", SHADOW)
    if len(each) != count:
        raise ApiError(400, f"{SHADOW} must have one prompt for each of the {count}, got {len(each)}", SHADOW)
    return each
