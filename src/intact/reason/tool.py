"""Tools for methods: declared inputs, text output of bounded length, and a content address of the tool."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar, Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.receipts import canonical
from intact.tools.sandbox import Ending

LONGEST_OUTPUT: Final = 4096
"""Maximum number of characters of a tool's output; longer output is cut in the middle."""
LONGEST_INPUT: Final = 1 << 16
"""Maximum number of characters in a tool's text input."""
ENDINGS: Final[Mapping[str, str]] = {
    "steps": "out of steps",
    "time": "out of time",
    "memory": "out of memory",
    "output": "too much output",
    "signal": "ended by a signal",
}
"""Descriptions of the limits that end a tool."""
KINDS: Final[Mapping[str, str]] = {"text": "a string", "texts": "a list of strings", "number": "a positive number"}
"""Descriptions of the input types."""
_UNSAFE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, direction marks and invisible characters: a fixed list that is the same in every Python version.
"""


class ToolInput(NamedTuple):
    """A declared input of a tool.

    Attributes
    ----------
    kind : {'text', 'texts', 'number'}
        Its type; numbers are positive.
    help : str
        A one-sentence description.
    default
        The default value; None if the input is required.
    """

    kind: str
    help: str
    default: Any = None


class ToolResult(NamedTuple):
    """The result of a tool.

    Attributes
    ----------
    text : str
        The output or the error message: at most `LONGEST_OUTPUT` characters, without control characters.
    ended : Ending
        The way the call ended: "ok", "error", or the limit that it hit.
    settled : bool
        If true, any machine would give the same result; false after a time limit.
    """

    text: str
    ended: Ending
    settled: bool = True

    @property
    def ok(self) -> bool:
        """If true, the tool finished normally."""
        return self.ended == "ok"


class MethodTool(ABC):
    """A tool that maps inputs to text.

    A replayable tool is a pure function of its inputs and of everything listed by `environment`: verifiers run it
    again. The results of any other tool are recorded, and marked as such.

    Attributes
    ----------
    name : str
        Name of the tool in requests.
    line : str
        A one-sentence description of what it does.
    inputs : mapping of str to ToolInput
        Its inputs.
    output : str
        A one-sentence description of its output.
    version : int
        Version number; increased when its result for the same inputs changes (`intact.solving.receipts.versions`).
    uses : tuple of str
        Shared parts that it uses and that have versions of their own.
    replayable : bool
        If true, the same call always gives the same result.
    """

    name: ClassVar[str]
    line: ClassVar[str]
    inputs: ClassVar[Mapping[str, ToolInput]]
    output: ClassVar[str]
    version: ClassVar[int] = 1
    uses: ClassVar[tuple[str, ...]] = ()
    replayable: ClassVar[bool] = True

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return everything a result depends on besides the inputs: versions and digests of programs and libraries."""
        return {}

    def address(self, values: Mapping[str, Any]) -> str:
        """Return the content address of the tool for a call: a digest of name, version and environment."""
        stated = {"name": self.name, "version": self.version, "environment": self.environment(values)}
        return canonical.digest("sha256", canonical.encode(stated)).hex()

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Validate the inputs of a call and fill in defaults.

        Raises
        ------
        ParameterError
            If an input is missing, unknown, too long or of the wrong type.
        """
        for name in values:
            if name not in self.inputs:
                raise ParameterError(
                    unknown_name(f"the tool {self.name} has no input {name!r:.60}", str(name), self.inputs)
                )
        found = {}
        for name, declared in self.inputs.items():
            value = values.get(name, declared.default)
            if value is None:
                raise ParameterError(f"the tool {self.name} needs the input {name}: {declared.help}")
            found[name] = _checked(f"the tool {self.name}: {name}", declared.kind, value)
        return found

    @abstractmethod
    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Return the result for validated inputs. Called in a thread; `stop` ends it early, like a timeout.

        Parameters
        ----------
        untrusted : bool
            If true, nothing runs unprotected, whatever the value of INTACT_SANDBOX.

        Raises
        ------
        IntactError
            If the tool cannot be used here, for example because a package or the sandbox is missing.
        """


class RecordedTool(MethodTool):
    """A tool known only from recorded results: it accepts any inputs and cannot be called."""

    line = "A tool of which a record has the results."
    inputs: ClassVar[Mapping[str, ToolInput]] = {}
    output = "What the record holds."
    replayable = False

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs unchanged: the recorded tool already validated them."""
        return dict(values)

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Raise ParameterError, since only recorded results are available."""
        raise ParameterError(f"the tool {self.name} is not available here; only its recorded results are")


class ToolUse(NamedTuple):
    """A call of a tool: its validated inputs and, if it is not replayable, the place of the call."""

    tool: MethodTool
    values: Mapping[str, Any]
    place: str = ""


def _checked(what: str, kind: str, value: Any) -> Any:
    wrong = f"{what} must be {KINDS[kind]}, got {value!r:.60}"
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise ParameterError(wrong)
        return float(value)
    if kind == "texts" and not isinstance(value, list | tuple):
        raise ParameterError(wrong)
    texts: list[Any] = [value] if kind == "text" else list(value)
    if not all(isinstance(one, str) for one in texts):
        raise ParameterError(wrong)
    if any(len(one) > LONGEST_INPUT for one in texts):
        raise ParameterError(f"{what} may have at most {LONGEST_INPUT:,} characters per text, but this has more")
    return value if kind == "text" else texts


def clean(text: str, most: int = LONGEST_OUTPUT) -> str:
    """Make tool output safe to display: escape control characters, and limit its length.

    Characters that control a terminal, change the writing direction or are invisible are escaped as in Python; line
    feeds and tabs are kept.
    """
    return shorten(_UNSAFE.sub(_escape, text.replace("\r\n", "\n")), most)


def shorten(text: str, most: int) -> str:
    """Shorten text to a maximum length: its beginning, a line with the total number of characters, and its end."""
    if len(text) <= most:
        return text
    line = f"\n... {len(text):,} characters in all ...\n"
    kept = max(0, most - len(line))
    return text[: kept - kept // 2] + line + (text[-(kept // 2) :] if kept // 2 else "")


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 127 else repr(character)[1:-1]
