"""Tools that a method may use: declared inputs, a bounded text as output, and the address of what made it."""

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
"""Characters of a tool's output; of a longer one the middle is left out."""
LONGEST_INPUT: Final = 1 << 16
"""Characters of a text that a tool is given."""
ENDINGS: Final[Mapping[str, str]] = {
    "steps": "out of steps",
    "time": "out of time",
    "memory": "out of memory",
    "output": "too much output",
    "signal": "ended by a signal",
}
"""The limits that end a tool, in words."""
KINDS: Final[Mapping[str, str]] = {"text": "a text", "texts": "a list of texts", "number": "a positive number"}
"""The types of inputs, in words."""
_UNSAFE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, marks of direction, and what cannot be seen: a fixed list, the same with every Python."""


class ToolInput(NamedTuple):
    """A declared input of a tool.

    Attributes
    ----------
    kind : {'text', 'texts', 'number'}
        Its type; numbers are positive.
    help : str
        One sentence.
    default
        Its value where none is given; None: it must be given.
    """

    kind: str
    help: str
    default: Any = None


class ToolResult(NamedTuple):
    """The result of a tool.

    Attributes
    ----------
    text : str
        What it gave, or the error in words; without control characters, of at most `LONGEST_OUTPUT` characters.
    ended : Ending
        Why it ended: "ok", "error", or the limit that it reached.
    settled : bool
        If true, any machine would give the same; false after a limit on time.
    """

    text: str
    ended: Ending
    settled: bool = True

    @property
    def ok(self) -> bool:
        """If true, it came to its end."""
        return self.ended == "ok"


class MethodTool(ABC):
    """A tool, which gives a text for inputs.

    A replayable tool is a pure function of its inputs and of what `environment` names: verifiers run it again. The
    results of any other are recorded, and marked so.

    Attributes
    ----------
    name : str
        Its name in requests.
    line : str
        What it does, in one sentence.
    inputs : mapping of str to ToolInput
        Its inputs.
    output : str
        What its text is, in one sentence.
    version : int
        Raised when it gives something else for the same inputs (`intact.solving.receipts.versions`).
    uses : tuple of str
        Shared parts with versions of their own.
    replayable : bool
        If true, the same call gives the same result again.
    """

    name: ClassVar[str]
    line: ClassVar[str]
    inputs: ClassVar[Mapping[str, ToolInput]]
    output: ClassVar[str]
    version: ClassVar[int] = 1
    uses: ClassVar[tuple[str, ...]] = ()
    replayable: ClassVar[bool] = True

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return what a result depends on besides the inputs: versions and digests of programs and libraries."""
        return {}

    def address(self, values: Mapping[str, Any]) -> str:
        """Return the content address of the tool as it serves a call: a digest of name, version and environment."""
        stated = {"name": self.name, "version": self.version, "environment": self.environment(values)}
        return canonical.digest("sha256", canonical.encode(stated)).hex()

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs of a call with defaults filled in.

        Raises
        ------
        ParameterError
            If one is missing, unknown, of another type or too long.
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
                raise ParameterError(f"the tool {self.name} needs its input {name}: {declared.help}")
            found[name] = _checked(f"the tool {self.name}: {name}", declared.kind, value)
        return found

    @abstractmethod
    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Return the result for checked inputs. Called in a thread; `stop` ends it early, as if time were over.

        Parameters
        ----------
        untrusted : bool
            If true, nothing runs without protection, whatever INTACT_SANDBOX says.

        Raises
        ------
        IntactError
            If the tool cannot be used here, as where a package or protection is missing.
        """


class RecordedTool(MethodTool):
    """A tool of which a record has the results: it takes any inputs, and cannot be used."""

    line = "A tool of which a record has the results."
    inputs: ClassVar[Mapping[str, ToolInput]] = {}
    output = "What the record holds."
    replayable = False

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs as they are: the tool that made the record knew them."""
        return dict(values)

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Raise ParameterError: it cannot be used again."""
        raise ParameterError(f"the tool {self.name} is not here; there are only recorded results of it")


class ToolUse(NamedTuple):
    """A call of a tool: its checked inputs and, where results cannot be repeated, the place at which it is made."""

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
        raise ParameterError(f"{what} may have {LONGEST_INPUT:,} characters a text; this has more")
    return value if kind == "text" else texts


def clean(text: str, most: int = LONGEST_OUTPUT) -> str:
    """Return output of a tool as it may be shown: control characters escaped, and at most so many characters.

    What steers a terminal, turns the direction of writing or cannot be seen is written as Python escapes it, but for
    line feeds and tabs.
    """
    return shorten(_UNSAFE.sub(_escape, text.replace("\r\n", "\n")), most)


def shorten(text: str, most: int) -> str:
    """Return a text of at most so many characters: its beginning, a line with the number left out, and its end."""
    if len(text) <= most:
        return text
    line = f"\n... {len(text):,} characters in all ...\n"
    kept = max(0, most - len(line))
    return text[: kept - kept // 2] + line + (text[-(kept // 2) :] if kept // 2 else "")


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 127 else repr(character)[1:-1]
