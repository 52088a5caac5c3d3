"""The request that a receipt holds: prompt, what the prompt was made from, and sampling parameters.

Every parameter that can change a token is there; decimals are written as text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

from intact.engine.sampling.definitions import Definition
from intact.engine.sampling.parameters import CONSTRAINTS, DEFINITIONS, SamplingParameters
from intact.engine.sampling.rules import RULES
from intact.errors import ParameterError, ReceiptError
from intact.numerics.sampling import DECIMALS, millionths
from intact.receipts import canonical
from intact.strict_json import LARGEST, Fields, is_integer
from intact.text import ChatPrompt, Tokenizer
from intact.text.template import exact_time

Branch = tuple[str | int, ...]
Kind = Literal["text", "chat"]
MOST_PARTS: Final = 16
"""Limit on the parts of a branch."""
MOST_STOPS: Final = 256
LONGEST_STOP: Final = 1024
"""Characters: each token of an answer is searched for all stop strings, and a verifier does not choose them."""
_KINDS: Final[tuple[Kind, ...]] = ("text", "chat")
NUMBERS: Final = {n: one for n, one in DEFINITIONS.items() if one.draws and one.kind in ("integer", "decimal", "flag")}
"""The sampling parameters that are numbers or booleans."""
_NAMES: Final = (*(name for name in NUMBERS if name not in RULES), "stop", "logit_bias", "constraint")
"""The members that a receipt always has; the parameter of an added rule is one where it is not the default."""
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9]\d{0,3})(?:\.\d{0,5}[1-9])?", re.ASCII)
_INTEGER: Final = re.compile(r"0|-?[1-9]\d{0,19}", re.ASCII)
_NEVER: Final = "-inf"


@dataclass(frozen=True)
class PromptSource:
    """The text or conversation that the prompt's tokens were made from.

    Attributes
    ----------
    kind : {'text', 'chat'}
        A text, or the variables of the chat template.
    text : str
        The text itself; or an object in JSON, whose members keep their order, with `messages` and whatever other
        variables the template was given.
    now : str or None
        The time that the template was given, such as 2026-11-20T17:45:00, if it uses one.
    """

    kind: Kind
    text: str
    now: str | None = None

    @classmethod
    def of_text(cls, text: str | bytes) -> PromptSource:
        """Describe a prompt that is a text."""
        return cls("text", text.decode("utf-8") if isinstance(text, bytes) else text)

    @classmethod
    def of_chat(cls, conversation: ChatPrompt, tokenizer: Tokenizer) -> PromptSource:
        """Describe a prompt that is a conversation.

        Raises
        ------
        ParameterError
            If it holds what JSON cannot.
        """
        try:
            given = {"messages": list(conversation.messages), **conversation.variables}
            text = json.dumps(given, ensure_ascii=False, allow_nan=False, default=_as_dict)
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(f"a receipt needs messages that JSON can hold: {error}") from error
        return cls("chat", text, conversation.now.isoformat() if _uses_time(tokenizer) else None)

    def to_document(self) -> dict[str, Any]:
        """Return its members in a receipt."""
        return {"kind": self.kind, "text": self.text, "now": self.now}

    @classmethod
    def from_document(cls, value: Any) -> PromptSource:
        """Read what `to_document` returns."""
        fields = Fields(value, "request.source", ("kind", "text", "now"))
        kind = fields.choice("kind", _KINDS)
        return cls(kind, fields.text("text"), fields.maybe("now", fields.text))

    def conversation(self) -> dict[str, Any]:
        """Return the variables of the template, `messages` among them.

        Raises
        ------
        ReceiptError
            If the source is no conversation.
        """
        value = canonical.read(self.text.encode(), "request.source.text", floats=True)
        if self.kind != "chat" or not isinstance(value, dict) or not isinstance(value.get("messages"), list):
            raise ReceiptError("request.source.text must be a JSON object with a list of messages")
        return value

    def encode(self, tokenizer: Tokenizer, most: int | None = None) -> list[int]:
        """Return the tokens of the prompt; `most` as of `Tokenizer.encode`.

        Raises
        ------
        IntactError
            If the source is no conversation, or the template fails on it.
        """
        if self.now is not None and (self.kind == "text" or not _uses_time(tokenizer)):
            raise ReceiptError(f"request.source.now must be null, as nothing asks for the time, got {self.now!r:.60}")
        if self.kind == "text":
            return tokenizer.encode(self.text, most=most)
        given = self.conversation()
        messages = given.pop("messages")
        if "now" in given:
            raise ReceiptError("request.source.text has a variable named now; the time stands beside it")
        time = datetime.min if self.now is None else exact_time(self.now)
        if time is None:
            expected = "a time such as 2026-11-20T17:45:00"
            raise ReceiptError(f"request.source.now must be {expected}, got {self.now!r:.60}")
        return ChatPrompt(messages, given, time).encode(tokenizer, most)


def _uses_time(tokenizer: Tokenizer) -> bool:
    """Return true if the chat template uses the time."""
    template = tokenizer.chat_template
    return template is not None and template.uses_time


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is none of its types")


@dataclass(frozen=True)
class AnswerRequest:
    """The request for one answer.

    Attributes
    ----------
    prompt : tuple of int
        Its tokens.
    parameters : SamplingParameters
        How tokens are drawn, and when the answer ends; the seed is among them.
    branch : tuple of str and int
        The name of the random draws besides the seed: by default the prompt's name and the sample's number.
    compiler : str or None
        The compiler of the constraint, such as `llguidance 1.3.0`; None without one.
    source : PromptSource or None
        What the tokens were made from, if it is known.
    """

    prompt: tuple[int, ...]
    parameters: SamplingParameters
    branch: Branch
    compiler: str | None = None
    source: PromptSource | None = None

    def to_document(self) -> dict[str, Any]:
        """Return its members in a receipt."""
        return {
            "prompt": list(self.prompt),
            "sampling": sampling_to_document(self.parameters),
            "branch": list(self.branch),
            "compiler": self.compiler,
            "source": self.source and self.source.to_document(),
        }

    @classmethod
    def from_document(cls, value: Any) -> AnswerRequest:
        """Read what `to_document` returns."""
        fields = Fields(value, "request", ("prompt", "sampling", "branch", "compiler", "source"))
        parameters = sampling_from_document(fields.values["sampling"], "request.sampling")
        branch = fields.values["branch"]
        if (
            not isinstance(branch, list)
            or len(branch) > MOST_PARTS
            or not all(isinstance(part, str) or is_integer(part, -LARGEST, LARGEST) for part in branch)
        ):
            fields.fail("branch", f"a list of at most {MOST_PARTS} strings and integers")
        compiler = fields.maybe("compiler", fields.text)
        if (compiler is None) != (parameters.constraint is None):
            fields.fail("compiler", "the name of what compiled the constraint, and null without one")
        source = fields.maybe("source", lambda name: PromptSource.from_document(fields.values[name]))
        return cls(fields.integers("prompt", shortest=1), parameters, tuple(branch), compiler, source)


@lru_cache(256)
def decimal_text(value: float) -> str:
    """Write a number of at most 6 decimals in its shortest form: -2, 0.7, 1000."""
    whole, rest = divmod(abs(millionths(value)), DECIMALS)
    digits = f"{rest:06}".rstrip("0")
    return ("-" if value < 0 else "") + str(whole) + ("." + digits if digits else "")


def sampling_to_document(parameters: SamplingParameters) -> dict[str, Any]:
    """Return the members of a receipt's `sampling`.

    Raises
    ------
    ReceiptError
        If there are more stop strings than a receipt may hold.
    """
    _check_stops(parameters.stop, "stop")
    written = [name for name in NUMBERS if name not in RULES or name in parameters.changed]
    bias = parameters.biases
    constraint = parameters.constraint
    return {
        **{name: form_of(NUMBERS[name]).write(getattr(parameters, name)) for name in written},
        "stop": list(parameters.stop),
        "logit_bias": {
            "tokens": [token for token, _ in bias],
            "values": [_NEVER if value == -math.inf else decimal_text(value) for _, value in bias],
        },
        "constraint": None if constraint is None else {"kind": constraint.kind, "text": constraint.text},
    }


def sampling_from_document(value: Any, where: str) -> SamplingParameters:
    """Read what `sampling_to_document` returns.

    Raises
    ------
    ReceiptError
        If a member is missing, unknown or impossible.
    """
    added = [name for name in RULES if isinstance(value, dict) and name in value]
    fields = Fields(value, where, (*_NAMES, *added))
    given = {name: form_of(one).read(fields, name) for name, one in NUMBERS.items() if name in fields.values}
    stop = fields.items("stop", "a list of strings")
    _check_stops(stop, fields.place("stop"))
    given["stop"] = tuple(stop)
    given["logit_bias"] = _biases(Fields(fields.values["logit_bias"], fields.place("logit_bias"), ("tokens", "values")))
    if fields.values["constraint"] is not None:
        constraint = Fields(fields.values["constraint"], fields.place("constraint"), ("kind", "text"))
        given[constraint.choice("kind", CONSTRAINTS)] = constraint.text("text")
    try:
        return SamplingParameters(**given)
    except ParameterError as error:
        raise ReceiptError(f"{where}: {error}") from error


class NumberForm(NamedTuple):
    """One way in which receipts hold numbers and booleans: its JSON schema, its writer and its reader."""

    schema: dict[str, Any]
    write: Callable[[Any], Any]
    read: Callable[[Fields, str], Any]


def form_of(definition: Definition) -> NumberForm:
    """Return the form in which a receipt holds a parameter that is a number or a boolean."""
    if definition.kind == "flag":
        return NumberForm({"type": "boolean"}, bool, Fields.flag)
    if definition.kind == "decimal":
        return NumberForm({"$ref": "#/$defs/decimal"}, decimal_text, _decimal)
    if definition.high > LARGEST:
        return NumberForm({"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,19})$"}, str, _long)
    bounds = {"minimum": definition.low, "maximum": definition.high}
    return NumberForm({"type": "integer", **bounds}, int, Fields.integer)


def _long(fields: Fields, name: str) -> int:
    text = fields.text(name)
    if not _INTEGER.fullmatch(text):
        fields.fail(name, "an integer in decimal, as text")
    return int(text)


def _check_stops(stops: Sequence[Any], where: str) -> None:
    if len(stops) > MOST_STOPS or any(isinstance(stop, str) and len(stop) > LONGEST_STOP for stop in stops):
        raise ReceiptError(
            f"{where}: a receipt has at most {MOST_STOPS} stop strings, of at most {LONGEST_STOP:,} characters"
        )


def _is_decimal(text: object) -> bool:
    return isinstance(text, str) and _DECIMAL.fullmatch(text) is not None and text != "-0"


def _decimal(fields: Fields, name: str) -> float:
    text = fields.text(name)
    if not _is_decimal(text):
        fields.fail(name, "a decimal number of at most 6 decimals in its shortest form, as text")
    return float(text)


def _biases(fields: Fields) -> tuple[tuple[int, float], ...]:
    tokens, values = fields.ascending("tokens"), fields.items("values", "a list with a number for each token")
    if len(values) != len(tokens):
        fields.fail("values", "a list with a number for each token")
    for index, text in enumerate(values):
        if text != _NEVER and not _is_decimal(text):
            raise ReceiptError(f"{fields.place('values')}[{index}] must be a decimal number as text, or {_NEVER!r}")
    return tuple(zip(tokens, map(float, values), strict=True))
