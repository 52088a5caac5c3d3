"""Sampling parameters as values, checked once."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, TypedDict, cast

from intact.errors import ParameterError
from intact.numerics.sampling import Sampling, make_sampling
from intact.text.stream import StopStrings

ConstraintKind = Literal["json_schema", "regex", "grammar"]
CONSTRAINTS: tuple[ConstraintKind, ...] = ("json_schema", "regex", "grammar")
LARGEST_BIAS = 100
LARGEST_REPETITION = 100
MOST_TOP_LOGPROBS = 20


class Constraint(NamedTuple):
    """What a text must match: the kind, and the schema, expression or grammar as text."""

    kind: ConstraintKind
    text: str


class SamplingFields(TypedDict, total=False):
    """The fields of `SamplingParameters` as arguments by name."""

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    stop: str | Sequence[str]
    min_tokens: int
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    ignore_eos: bool
    top_logprobs: int
    json_schema: str | Mapping[str, Any] | None
    regex: str | None
    grammar: str | None


@dataclass(frozen=True)
class SamplingParameters:
    """How tokens are drawn and when a completion ends; docs/sampling.md has the formulas and their order.

    Every number that isn't an integer is taken for the decimal number that it shows, of at most 6 decimals.

    Attributes
    ----------
    max_tokens, min_tokens : int
        Bounds of a completion's length; before `min_tokens` no end token can be drawn.
    temperature : float
        0 for greedy decoding.
    top_k, top_p, min_p, typical_p : int, float
        Filters, applied in this order after the temperature; 0, 1, 0 and 1 keep all tokens.
    repetition_penalty : float
        Above 1: tokens of the prompt and the text become less likely (Keskar et al. 2019).
    presence_penalty, frequency_penalty : float
        Subtracted from logits of the tokens of the text: once, and for each occurrence.
    logit_bias : mapping of int to float
        What is added to tokens' logits, -100 to 100; -inf forbids a token. Kept as sorted pairs.
    seed : int
        With the prompt's name and the sample's number the key of all draws.
    stop : tuple of str
        Texts that end a completion.
    ignore_eos : bool
        Whether to go on after an end token.
    top_logprobs : int
        How many of the likeliest tokens to report with each token.
    json_schema : str or dict, regex : str, grammar : str
        What the text must be: JSON of a schema, a match of a regular expression, or of a grammar in Lark's notation.

    Raises
    ------
    ParameterError
        If a value is impossible or contradicts another.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    min_tokens: int = 0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | tuple[tuple[int, float], ...] = ()
    ignore_eos: bool = False
    top_logprobs: int = 0
    json_schema: str | Mapping[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None

    def __post_init__(self) -> None:
        self._integer("max_tokens", 1, 1 << 30)
        self._integer("min_tokens", 0, 1 << 30)
        self._integer("top_k", 0, 1 << 30)
        self._integer("seed", -(1 << 63), (1 << 64) - 1)
        self._integer("top_logprobs", 0, MOST_TOP_LOGPROBS)
        self._decimal("temperature", 0, 1000)
        self._decimal("top_p", 0, 1, above=True)
        self._decimal("min_p", 0, 1)
        self._decimal("typical_p", 0, 1, above=True)
        self._decimal("repetition_penalty", 0, LARGEST_REPETITION, above=True)
        self._decimal("presence_penalty", -2, 2)
        self._decimal("frequency_penalty", -2, 2)
        if not isinstance(self.ignore_eos, bool):
            raise ParameterError(f"ignore_eos must be True or False, got {self.ignore_eos!r}")
        self._set("stop", StopStrings(self.stop).stops)
        for i, stop in enumerate(self.stop):
            check_unicode(f"stop[{i}]", stop)
        self._set("logit_bias", _biases(self.logit_bias))
        if self.json_schema is not None:
            self._set("json_schema", _schema(self.json_schema))
        for name in CONSTRAINTS:
            if (value := getattr(self, name)) is not None:
                _check_text(name, value)
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        if self.min_tokens > self.max_tokens:
            raise ParameterError(f"min_tokens is {self.min_tokens}, more than max_tokens, {self.max_tokens}")
        given = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ParameterError(f"{' and '.join(given)} are given; a text can have one constraint")
        if given and self.ignore_eos:
            raise ParameterError(f"ignore_eos contradicts {given[0]}: a text that matches ends with an end token")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _integer(self, name: str, low: int, high: int) -> None:
        self._set(name, integer(name, getattr(self, name), low, high))

    def _decimal(self, name: str, low: int, high: int, *, above: bool = False) -> None:
        self._set(name, _decimal(name, getattr(self, name), low, high, above))

    @property
    def sampling(self) -> Sampling:
        """Temperature and filters as exact integers."""
        return make_sampling(self.temperature, self.top_k, self.top_p, self.min_p, self.typical_p)

    @property
    def biases(self) -> tuple[tuple[int, float], ...]:
        """`logit_bias` as pairs of token and bias, sorted."""
        return cast(tuple[tuple[int, float], ...], self.logit_bias)

    @property
    def constraint(self) -> Constraint | None:
        """What the text must match."""
        for kind in CONSTRAINTS:
            if (text := getattr(self, kind)) is not None:
                return Constraint(kind, text)
        return None

    def check_tokens(self, vocabulary: int) -> None:
        """Refuse tokens that a model doesn't have.

        Raises
        ------
        ParameterError
            If `logit_bias` names a token outside the vocabulary.
        """
        for token, _ in self.biases:
            if token >= vocabulary:
                raise ParameterError(f"logit_bias names token {token}; this model's lie in 0 to {vocabulary - 1}")

    def to_json(self) -> str:
        """Write the fields that differ from their defaults, in one way only: sorted, without spaces."""
        changed = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default}
        if "logit_bias" in changed:
            changed["logit_bias"] = {str(t): "-inf" if b == -math.inf else b for t, b in changed["logit_bias"]}
        return json.dumps(changed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> SamplingParameters:
        """Read what `to_json` writes.

        Raises
        ------
        ParameterError
            If the text isn't such an object, or a value is impossible.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ParameterError(f"sampling parameters must be a JSON object: {error}") from error
        if not isinstance(given, dict):
            raise ParameterError(f"sampling parameters must be a JSON object, got {text!r:.60}")
        if isinstance(bias := given.get("logit_bias"), dict):
            given["logit_bias"] = {_token(t): -math.inf if b == "-inf" else b for t, b in bias.items()}
        return cls.by_name(given)

    @classmethod
    def by_name(cls, given: Mapping[str, Any]) -> SamplingParameters:
        """Those of which some are given by name.

        Raises
        ------
        ParameterError
            If a name is none of theirs, or a value is impossible.
        """
        names = [f.name for f in fields(cls)]
        for name in given:
            if name not in names:
                raise ParameterError(f"{name!r:.60} is no sampling parameter; they are {', '.join(names)}")
        return cls(**given)


def whole(value: object) -> int | None:
    """The integer that a value is, be it Python's or NumPy's; None for any other, truth values among them."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def integer(name: str, value: object, low: int, high: int) -> int:
    """An integer between bounds.

    Raises
    ------
    ParameterError
        If the value is none.
    """
    number = whole(value)
    if number is None or not low <= number <= high:
        raise ParameterError(f"{name} must be an integer from {low} to {high}, got {_shown(value)}")
    return number


def _decimal(name: str, value: object, low: int, high: int, above: bool = False) -> float:
    given = value if isinstance(value, float) else whole(value)
    if given is None:
        raise ParameterError(f"{name} must be a number, an int or a float of Python's, got {_shown(value)}")
    if not low <= given <= high or (above and given == low):
        raise ParameterError(f"{name} must lie in {'(' if above else '['}{low}, {high}], got {_shown(value)}")
    number = float(given)
    if round(number, 6) != number:
        raise ParameterError(f"{name} may have at most 6 decimals, got {number!r}")
    return number + 0.0  # -0.0 is 0.0


def _shown(value: object) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # Python writes no integer of more than some thousand digits
        return f"{type(value).__name__} that is too long to write"


def _token(name: str) -> int | str:
    """A token as `to_json` writes it; any other text is none, lest two of them name the same."""
    return int(name) if re.fullmatch("0|[1-9][0-9]{0,9}", name) else name


def _biases(value: object) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, Mapping | tuple):
        raise ParameterError(f"logit_bias must map token ids to numbers, got {_shown(value)}")
    pairs: dict[int, float] = {}
    for entry in value.items() if isinstance(value, Mapping) else value:
        if not isinstance(entry, Sequence) or len(entry) != 2:
            raise ParameterError(f"logit_bias must map token ids to numbers, got {_shown(entry)} for a pair of them")
        token, bias = entry
        number = whole(token)
        if number is None or not 0 <= number < 1 << 31:
            raise ParameterError(f"logit_bias must map token ids to numbers, got the token {_shown(token)}")
        forbidden = bias == -math.inf
        name = f"logit_bias of token {number}"
        pairs[number] = bias if forbidden else _decimal(name, bias, -LARGEST_BIAS, LARGEST_BIAS)
    return tuple(sorted(pairs.items()))


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise ParameterError(f"{name} must be a text that is not empty, got {value!r:.60}")
    check_unicode(name, value)


def check_unicode(name: str, value: str) -> None:
    """Refuse a text that has no UTF-8.

    Raises
    ------
    ParameterError
        If it holds a lone surrogate.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        character = ord(value[error.start])
        raise ParameterError(f"{name} holds the lone surrogate U+{character:04X}, which is no character") from error


def _schema(value: object) -> str:
    """A schema as text; the order of its properties is kept, as it is the order in which they are written."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        if isinstance(parsed, Mapping):
            return json.dumps(parsed, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise ParameterError(f"json_schema is no JSON: {error}") from error
    raise ParameterError(f"json_schema must be a JSON object, got {value!r:.60}")
