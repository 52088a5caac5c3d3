"""Mixes named in requests (docs/mixing.md): validated before any prompt is read, with their shadow prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from intact._base.errors import IntactError
from intact.engine.mixes import ChosenMix, check_partners, check_shadow, chosen_mix, shadow_messages
from intact.reason.backends.text_mix import TextMix
from intact.receipts.identity import digests_of
from intact.serve.errors import ApiError, as_api_error
from intact.serve.models import Served
from intact.serve.requests import ChatRequest, Extension, as_turns

MIX, SHADOW = "intact.mix", "intact.shadow"
"""The request fields for a mix."""


def requested_mix(own: Extension) -> ChosenMix | None:
    """Return the mix named in a request, or None.

    Raises
    ------
    ApiError
        400, naming the field, if the mix is unknown, a parameter is invalid, or its shadow is missing or unused.
    """
    try:
        chosen = None if own.mix is None else chosen_mix(own.mix)
    except IntactError as error:
        raise as_api_error(error, (), MIX) from error
    try:
        check_shadow(chosen, own.shadow is not None)
    except IntactError as error:
        raise as_api_error(error, (), SHADOW) from error
    return chosen


def mixing(served: Served, chosen: ChosenMix | None) -> Served:
    """Return a model as served to a request with a mix; its fingerprint includes those of the partners in use.

    Raises
    ------
    ApiError
        400, if it has too few partners, or the request names an adapter.
    """
    if chosen is None:
        return served
    model = served.loaded
    if model.adapter:
        raise ApiError(400, "mixes do not support adapters: request the model itself", MIX, "unsupported")
    try:
        check_partners(chosen, len(model.partners))
    except IntactError as error:
        raise as_api_error(error, (), MIX) from error
    taken = [model.partners[number - 1] for number in chosen.models if number]
    roots = [digests_of(partner).to_document()["weights"][:16] for partner in taken]
    return replace(served, fingerprint="+".join([served.fingerprint, *roots]))


def method_mix(own: Extension) -> TextMix | None:
    """Return the mix that a method's texts are drawn from, or None.

    Raises
    ------
    ApiError
        400, as for `requested_mix`, or if the shadow is not a text.
    """
    if (chosen := requested_mix(own)) is None:
        return None
    if own.shadow is not None and not isinstance(own.shadow, str):
        raise ApiError(400, f"{SHADOW} must be a text with a reasoning method", SHADOW)
    return TextMix(chosen, own.shadow)


def shadow_turns(request: ChatRequest) -> list[Any]:
    """Return the shadow conversation: the shadow's messages, or the request's with the shadow as the last message.

    Raises
    ------
    ApiError
        400, if the shadow is neither a text nor messages, or the last message is not the user's.
    """
    shadow = request.intact.shadow
    if isinstance(shadow, str):
        try:
            return shadow_messages(as_turns(request.messages), shadow)
        except IntactError as error:
            raise as_api_error(error, (), SHADOW) from error
    if shadow is None or not shadow or isinstance(shadow[0], str | int | list):
        raise ApiError(400, f"{SHADOW} must be a text or a list of messages here", SHADOW)
    return as_turns(shadow, SHADOW)


def each_shadow(own: Extension, count: int) -> Sequence[str | list[int] | None]:
    """Return the shadows of a request's prompts, which are texts or lists of tokens.

    Raises
    ------
    ApiError
        400, if the shadow is a list of messages, or there are not as many shadows as prompts.
    """
    shadow = own.shadow
    if shadow is None:
        return [None] * count
    each: list[Any] = [shadow] if isinstance(shadow, str) or (shadow and isinstance(shadow[0], int)) else list(shadow)
    if not all(isinstance(one, str | list) for one in each):
        raise ApiError(400, f"{SHADOW} must be a text or a list of tokens here, not messages", SHADOW)
    if len(each) != count:
        raise ApiError(400, f"{SHADOW} must be a prompt for each of the {count}, got {len(each)}", SHADOW)
    return each
