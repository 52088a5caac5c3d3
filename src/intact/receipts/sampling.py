"""Sampling parameters as receipts hold them: every one that can change a token, decimals as text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from intact.engine.sampling.parameters import CONSTRAINTS, SamplingParameters
from intact.errors import ParameterError, ReceiptError
from intact.numerics.sampling import DECIMALS, millionths
from intact.receipts.fields import Fields

_DECIMALS: Final = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)
_INTEGERS: Final = ("top_k", "min_tokens", "max_tokens")
_NAMES: Final = (*_DECIMALS, *_INTEGERS, "seed", "stop", "ignore_eos", "logit_bias", "constraint")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9]\d{0,3})(?:\.\d{0,5}[1-9])?", re.ASCII)
_SEED: Final = re.compile(r"0|-?[1-9]\d{0,19}", re.ASCII)
_NEVER: Final = "-inf"
MOST_STOPS: Final = 256
LONGEST_STOP: Final = 1024
"""Characters: each token of an answer is searched for all stop strings, and a verifier does not choose them."""


@lru_cache(256)
def decimal_text(value: float) -> str:
    """Write a number of at most 6 decimals in its shortest form: -2, 0.7, 1000."""
    size = abs(millionths(value))
    whole, rest = divmod(size, DECIMALS)
    digits = f"{rest:06}".rstrip("0")
    return ("-" if value < 0 else "") + str(whole) + ("." + digits if digits else "")


def to_document(parameters: SamplingParameters) -> dict[str, Any]:
    """Describe parameters.

    Raises
    ------
    ReceiptError
        If they hold more stop strings than a receipt may.
    """
    _check_stops(parameters.stop, "stop")
    bias = parameters.biases
    constraint = parameters.constraint
    return {
        **{name: decimal_text(getattr(parameters, name)) for name in _DECIMALS},
        **{name: getattr(parameters, name) for name in _INTEGERS},
        "seed": str(parameters.seed),
        "stop": list(parameters.stop),
        "ignore_eos": parameters.ignore_eos,
        "logit_bias": {
            "tokens": [token for token, _ in bias],
            "values": [_NEVER if value == -math.inf else decimal_text(value) for _, value in bias],
        },
        "constraint": None if constraint is None else {"kind": constraint.kind, "text": constraint.text},
    }


def from_document(value: Any, where: str) -> SamplingParameters:
    """Read what `to_document` describes.

    Raises
    ------
    ReceiptError
        If a member is missing, unknown or impossible.
    """
    fields = Fields(value, where, _NAMES)
    given: dict[str, Any] = {name: _decimal(fields, name) for name in _DECIMALS}
    given |= {name: fields.integer(name) for name in _INTEGERS}
    seed = fields.text("seed")
    if not _SEED.fullmatch(seed):
        fields.fail("seed", "an integer in decimal, as text")
    stop = fields.values["stop"]
    if not isinstance(stop, list):
        fields.fail("stop", "a list of strings")
    _check_stops(stop, fields.place("stop"))
    given |= {"seed": int(seed), "stop": tuple(stop), "ignore_eos": fields.flag("ignore_eos")}
    given["logit_bias"] = _biases(Fields(fields.values["logit_bias"], fields.place("logit_bias"), ("tokens", "values")))
    if fields.values["constraint"] is not None:
        constraint = Fields(fields.values["constraint"], fields.place("constraint"), ("kind", "text"))
        given[constraint.choice("kind", CONSTRAINTS)] = constraint.text("text")
    try:
        return SamplingParameters(**given)
    except ParameterError as error:
        raise ReceiptError(f"{where}: {error}") from error


def _check_stops(stops: Sequence[Any], where: str) -> None:
    if len(stops) > MOST_STOPS or any(isinstance(stop, str) and len(stop) > LONGEST_STOP for stop in stops):
        raise ReceiptError(
            f"{where}: a receipt has at most {MOST_STOPS} stop strings, of at most {LONGEST_STOP:,} characters"
        )


def _decimal(fields: Fields, name: str) -> float:
    text = fields.text(name)
    if not _DECIMAL.fullmatch(text) or text == "-0":
        fields.fail(name, "a decimal number of at most 6 decimals in its shortest form, as text")
    return float(text)


def _biases(fields: Fields) -> tuple[tuple[int, float], ...]:
    tokens, values = fields.integers("tokens"), fields.values["values"]
    if any(a >= b for a, b in pairwise(tokens)):
        fields.fail("tokens", "tokens in ascending order")
    if not isinstance(values, list) or len(values) != len(tokens):
        fields.fail("values", "a list with a number for each token")
    numbers = []
    for index, text in enumerate(values):
        if not isinstance(text, str) or (text != _NEVER and (not _DECIMAL.fullmatch(text) or text == "-0")):
            raise ReceiptError(f"{fields.place('values')}[{index}] must be a decimal number as text, or {_NEVER!r}")
        numbers.append(-math.inf if text == _NEVER else float(text))
    return tuple(zip(tokens, numbers, strict=True))
