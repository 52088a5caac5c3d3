"""Definitions of sampling parameters and validation of their values. Imports nothing heavy, as `--help` loads it."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from intact._base.errors import ParameterError
from intact._base.strict_json import is_too_deep

Kind = Literal["integer", "decimal", "flag", "stops", "biases", "schema", "text"]
LARGEST_BIAS = 100


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One sampling parameter: the single source for its validation, options, storage and documentation.

    Attributes
    ----------
    kind : {'integer', 'decimal', 'flag', 'stops', 'biases', 'schema', 'text'}
        Type of the value. Decimals have at most 6 decimal places; 'stops' is a tuple of strings, 'biases' pairs of
        token and number; 'schema' and 'text' are constraints, None or a string.
    default : object
        Default value, which has no effect unless the parameter is a limit.
    low, high : int
        Bounds of a number.
    above : bool
        If true, `low` itself is excluded.
    effect, source : str
        Effect and source paper: cells of the table in docs/sampling.md.
    values, usual : str
        Cells for the values and the default, if the bounds and `default` do not express them.
    help, metavar : str
        Help of the command-line option; without help there is no option.
    common : bool
        If true, the short help of commands shows the option.
    http : {'body', 'intact', 'endpoint'}
        Location in HTTP requests: a field of the body with the same name, a field of the object `intact`, or specific
        to each endpoint.
    draws : bool
        If true, the parameter can change tokens, so receipts include it.
    methods : bool
        If true, reasoning methods accept it.
    later : bool
        If true, the parameter was added after version 1 of receipts; receipts and `--json` then include it only if it
        is not the default.
    """

    kind: Kind
    default: Any = None
    low: int = 0
    high: int = 1 << 30
    above: bool = False
    effect: str
    source: str = ""
    values: str = ""
    usual: str = ""
    help: str = ""
    metavar: str = ""
    common: bool = False
    http: Literal["body", "intact", "endpoint"] = "body"
    draws: bool = True
    methods: bool = False
    later: bool = False

    def check(self, name: str, value: object) -> Any:
        """Return a value in normalised form.

        Raises
        ------
        ParameterError
            If the value is invalid.
        """
        match self.kind:
            case "integer":
                return integer(name, value, self.low, self.high)
            case "decimal":
                return decimal(name, value, self.low, self.high, above=self.above)
            case "flag":
                return flag(name, value)
            case "stops":
                return _stops(name, value)
            case "biases":
                return _biases(value)
        return None if value is None else _constraint(name, value, self.kind)

    def row(self, name: str) -> str:
        """Return the parameter's row of the table in docs/sampling.md."""
        low = f"above {self.low}" if self.above else str(self.low)
        values = self.values or f"{low} to {self.high}"
        usual = self.usual or f"{self.default:g}"
        cells = (f"`{name}`", values, usual, self.effect, self.source)
        return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def whole(value: object) -> int | None:
    """Return a Python or NumPy integer as an int; None for any other value, including booleans."""
    if type(value).__name__ in ("bool", "bool_"):  # before NumPy 2, NumPy's booleans support __index__
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return a value as an integer within bounds.

    Raises
    ------
    ParameterError
        If it is not an integer within the bounds.
    """
    number = whole(value)
    if number is None or not low <= number <= high:
        raise ParameterError(f"{name} must be an integer from {low} to {high}, got {_format(value)}")
    return number


def flag(name: str, value: object) -> bool:
    """Return a value as a boolean.

    Raises
    ------
    ParameterError
        If it is not a boolean.
    """
    if not isinstance(value, bool):
        raise ParameterError(f"{name} must be True or False, got {value!r:.60}")
    return value


def decimal(name: str, value: object, low: int, high: int, above: bool = False) -> float:
    """Return a value as a number within bounds, with at most 6 decimal places.

    Raises
    ------
    ParameterError
        If it is not such a number.
    """
    given = value if isinstance(value, float) else whole(value)
    if given is None:
        raise ParameterError(f"{name} must be a number, a Python int or float, got {_format(value)}")
    if not low <= given <= high or (above and given == low):
        raise ParameterError(f"{name} must lie in {'(' if above else '['}{low}, {high}], got {_format(value)}")
    number = float(given)
    if round(number, 6) != number:
        raise ParameterError(f"{name} may have at most 6 decimals, got {number!r}")
    return number + 0.0  # turns -0.0 into 0.0


def check_unicode(name: str, value: str) -> None:
    """Raise if a string cannot be encoded as UTF-8.

    Raises
    ------
    ParameterError
        If it contains a lone surrogate.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        character = ord(value[error.start])
        raise ParameterError(
            f"{name} contains the lone surrogate U+{character:04X}, which is not a character"
        ) from error


def _format(value: object) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # Python does not format integers with more than some thousand digits
        return f"{type(value).__name__} that is too long to write"


def _stops(name: str, value: Any) -> tuple[str, ...]:
    from intact.text.stream import StopStrings

    stops = StopStrings(value).stops
    for i, stop in enumerate(stops):
        check_unicode(f"{name}[{i}]", stop)
    return stops


def _biases(value: object) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, Mapping | tuple):
        raise ParameterError(f"logit_bias must map token ids to numbers, got {_format(value)}")
    pairs: dict[int, float] = {}
    for entry in value.items() if isinstance(value, Mapping) else value:
        if not isinstance(entry, Sequence) or len(entry) != 2:
            raise ParameterError(f"logit_bias must map token ids to numbers, got {_format(entry)} instead of a pair")
        token, bias = entry
        number = whole(token)
        if number is None or not 0 <= number < 1 << 31:
            raise ParameterError(f"logit_bias must map token ids to numbers, got the token {_format(token)}")
        name = f"logit_bias of token {number}"
        pairs[number] = bias if bias == -math.inf else decimal(name, bias, -LARGEST_BIAS, LARGEST_BIAS)
    return tuple(sorted(pairs.items()))


def _constraint(name: str, value: object, kind: Kind) -> str:
    text = _schema(value) if kind == "schema" else value
    if not isinstance(text, str) or not text:
        raise ParameterError(f"{name} must be a non-empty string, got {text!r:.60}")
    check_unicode(name, text)
    return text


def _schema(value: object) -> str:
    """Return a schema as JSON; keeps the order of its properties, which is the order in which they are generated."""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        if isinstance(parsed, Mapping):
            text = json.dumps(parsed, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            if is_too_deep(parsed, text):
                raise RecursionError
            return text
    except RecursionError:
        raise ParameterError("json_schema is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise ParameterError(f"json_schema is not valid JSON: {error}") from error
    raise ParameterError(f"json_schema must be a JSON object, got {value!r:.60}")
