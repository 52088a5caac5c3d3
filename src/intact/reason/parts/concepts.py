"""Memories of concepts: typed entries in a file, the problems they come from, and a guard against leakage.

A file consists of passages separated by empty lines. The first may be a header, one line of JSON, which states the
sources of the concepts and is never shown to a model; hand-written files have no header.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from intact._base.errors import FormatError, ParameterError
from intact._base.strict_json import parse
from intact.reason.parts.prompting import question
from intact.reason.problem import Problem
from intact.text.thinking import answer_part
from intact.tools.retrieve import passages

FORMAT: Final = "intact concepts"
VERSION: Final = 1
"""Version of the header format."""
FIELDS: Final = ("name", "kind", "parameters", "description", "cues")
KINDS: Final = ("structure", "routine")
LONGEST_NAME: Final = 120
"""Maximum number of characters of a name."""

_HEADER = re.compile(rf'\{{\s*"format"\s*:\s*"{FORMAT}"')
_LABEL = re.compile(rf"[*_#\s]*({'|'.join(FIELDS)})[*_\s]*:[*_\s]*(.*)", re.IGNORECASE)
_ITEM = re.compile(r"[-*•]\s+(.*)")


class ConceptSource(NamedTuple):
    """A problem from which a concept was written.

    Attributes
    ----------
    task : str
        The label of its task, such as ``gsm8k:split=train``.
    id : str
        The problem's id.
    question : str
        `question_digest` of its prompt.
    result : int
        The index of its result file in the memory's list.
    """

    task: str
    id: str
    question: str
    result: int


@dataclass(frozen=True)
class Concept:
    """A reusable idea in typed fields, one line each.

    Attributes
    ----------
    kind : {'structure', 'routine'}
        An element of a problem, or a way to solve it.
    parameters : str
        The values that vary from problem to problem, with types in words.
    cues : str
        Signs in a problem that the concept helps.
    """

    name: str
    kind: str
    parameters: str
    description: str
    cues: str
    sources: tuple[ConceptSource, ...] = ()

    @property
    def text(self) -> str:
        """The concept as it is shown to models, one line per field."""
        return "\n".join([f"{name.capitalize()}: {getattr(self, name)}" for name in FIELDS])


def parse_concept(text: str, cut: bool = False) -> Concept | None:
    """Parse a concept from a reply; return None if the reply does not have the required form.

    A concept has each of `FIELDS` once, in any order, as "Name: ..." at the beginning of a line; a value extends to the
    next field or an empty line. Text before and after the concept is ignored, and so is thinking.

    Parameters
    ----------
    cut : bool
        If true, the reply may be cut off, and only values followed by an empty line count.
    """
    text = (answer_part(text) or "").encode("utf-8", "backslashreplace").decode()
    lines = text.split("\n")
    if cut:
        blank = [place for place, line in enumerate(lines) if not line.strip()]
        lines = lines[: blank[-1]] if blank else []
    found: dict[str, str] = {}
    current = ""
    for line in lines:
        label = _LABEL.fullmatch(line)
        if label:
            current = label[1].lower()
            if current in found:
                return None
            found[current] = _join("", label[2])
        elif current and line.strip() and not line.startswith("```"):
            found[current] = _join(found[current], line)
        elif current and found[current]:
            current = ""
            if len(found) == len(FIELDS):
                break
    found |= {name: found[name].strip('*_`". ') for name in ("name", "kind") if name in found}
    if len(found) < len(FIELDS) or not all(found.values()) or len(found["name"]) > LONGEST_NAME:
        return None
    kind = found.pop("kind").casefold()
    return Concept(kind=kind, sources=(), **found) if kind in KINDS else None


def _join(text: str, line: str) -> str:
    """Append a line to a value; list items are separated by semicolons."""
    line = " ".join(line.split())
    item = _ITEM.fullmatch(line)
    if item is None:
        return f"{text} {line}".strip()
    return f"{text}; {item[1]}" if text else item[1]


def merge_concepts(concepts: Iterable[Concept]) -> list[Concept]:
    """Merge concepts with the same name, ignoring case: keep the first, with the sources of all of them."""
    found: dict[str, Concept] = {}
    for one in concepts:
        first = found.get(one.name.casefold())
        found[one.name.casefold()] = one if first is None else replace(first, sources=first.sources + one.sources)
    return list(found.values())


def format_memory(concepts: Sequence[Concept], results: Sequence[str], origin: Mapping[str, Any]) -> str:
    """Format a memory, beginning with its header.

    Parameters
    ----------
    results : sequence of str
        The SHA-256 of each result file that sources refer to.
    origin : mapping
        Further fields of the header, as JSON values.
    """
    known = [{"name": one.name, "sources": [source._asdict() for source in one.sources]} for one in concepts]
    header = {"format": FORMAT, "version": VERSION} | dict(origin) | {"results": list(results), "concepts": known}
    line = json.dumps(header, separators=(",", ":"), allow_nan=False)
    return "\n\n".join([line, *[one.text for one in concepts]]) + "\n"


def read_memory(text: str, file: str) -> tuple[list[str], list[ConceptSource]]:
    """Return the concepts of a memory, as shown to models, and the problems that they come from.

    Parameters
    ----------
    file : str
        The file name, for error messages.

    Raises
    ------
    FormatError
        If the memory has an invalid header.
    """
    concepts, sources = list[str](), list[ConceptSource]()
    for passage in passages(text.removeprefix("\ufeff")):
        header = _header_of(passage, file)
        if header is None:
            concepts.append(passage)
        else:
            sources += _sources_of(header, file)
    return concepts, sources


def _header_of(passage: str, file: str) -> Mapping[str, Any] | None:
    """Parse a passage as JSON if it is a header, anywhere in the file and with any spacing."""
    if not passage.startswith("{"):
        return None
    try:
        value = parse(passage, f"{file}, the header", error=FormatError)
    except FormatError:
        if _HEADER.match(passage):
            raise
        return None
    return value if isinstance(value, dict) and value.get("format") == FORMAT else None


def _sources_of(header: Mapping[str, Any], file: str) -> list[ConceptSource]:
    """Return the sources listed in a header."""
    if header.get("version") != VERSION:
        raise FormatError(
            f"{file} is a memory of concepts of version {header.get('version')!r:.40}, but "
            f"this program reads version {VERSION}"
        )
    try:
        sources = [ConceptSource(**source) for one in header["concepts"] for source in one["sources"]]
        wrong = [one for one in sources if [type(value) for value in one] != [str, str, str, int]]
    except (KeyError, TypeError) as error:
        raise FormatError(f"{file}: the header is damaged: {error!r:.200}; write the memory again") from error
    if wrong:
        raise FormatError(f"{file}: the header is damaged: {wrong[0]!r:.200} is not a source; write the memory again")
    return sources


def question_digest(problem: Problem) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a problem's question, ignoring white space.

    The question is the user's last turn, or the whole prompt if that is plain text.
    """
    words = question(replace(problem, data={})).split()
    return hashlib.sha256(" ".join(words).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def check_sources(problem: Problem, sources: Iterable[ConceptSource], file: str) -> None:
    """Raise ParameterError if a concept comes from the problem to be solved, or from one with the same question."""
    digest = question_digest(problem)
    for one in sources:
        if one.id == problem.id or one.question == digest:
            same = "" if one.id == problem.id else f", whose question is that of {problem.id}"
            raise ParameterError(
                f"{file} has a concept from {one.id!r:.100} of {one.task!r:.100}{same}: a memory must not come from "
                f"the problem to be solved; write it only from training problems (intact learn concepts)"
            )
