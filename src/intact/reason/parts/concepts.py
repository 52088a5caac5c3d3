"""Memories of concepts: typed texts in a file, the problems that each comes from, and the guard against leakage.

A file is passages that empty lines separate. The first may be a header, one line of JSON, which states the sources of
the concepts and is never shown to a model; a file of concepts that somebody wrote by hand has none.
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
"""Of the header."""
FIELDS: Final = ("name", "kind", "parameters", "description", "cues")
KINDS: Final = ("structure", "routine")
LONGEST_NAME: Final = 120
"""Characters."""

_HEADER = re.compile(rf'\{{\s*"format"\s*:\s*"{FORMAT}"')
_LABEL = re.compile(rf"[*_#\s]*({'|'.join(FIELDS)})[*_\s]*:[*_\s]*(.*)", re.IGNORECASE)
_ITEM = re.compile(r"[-*•]\s+(.*)")


class ConceptSource(NamedTuple):
    """A problem that a concept was written from.

    Attributes
    ----------
    task : str
        The label of its task, such as ``gsm8k:split=train``.
    id : str
        Its name.
    question : str
        `question_digest` of its prompt.
    result : int
        The place of its result file among those of the memory.
    """

    task: str
    id: str
    question: str
    result: int


@dataclass(frozen=True)
class Concept:
    """A reusable idea in typed fields, each one line.

    Attributes
    ----------
    kind : {'structure', 'routine'}
        What a problem consists of, or what is done with it.
    parameters : str
        What varies from problem to problem, with types in words.
    cues : str
        How a problem shows that the concept helps.
    """

    name: str
    kind: str
    parameters: str
    description: str
    cues: str
    sources: tuple[ConceptSource, ...] = ()

    @property
    def text(self) -> str:
        """The concept as models see it, a line a field."""
        return "\n".join([f"{name.capitalize()}: {getattr(self, name)}" for name in FIELDS])


def parse_concept(text: str, cut: bool = False) -> Concept | None:
    """Return the concept that a text states, or None if it is not in the form.

    The form is each of `FIELDS` once, in any order, as "Name: ..." at the beginning of a line; a value goes on up to
    the next field or an empty line. Other text before and behind is passed over, and so is thinking.

    Parameters
    ----------
    cut : bool
        If true, the text might have gone on: only what an empty line ends counts.
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
    """Return a value with one more line of it; the items of a list are separated by semicolons."""
    line = " ".join(line.split())
    item = _ITEM.fullmatch(line)
    if item is None:
        return f"{text} {line}".strip()
    return f"{text}; {item[1]}" if text else item[1]


def merge_concepts(concepts: Iterable[Concept]) -> list[Concept]:
    """Return concepts of different names: of equal ones, but for case, the first, with the sources of all."""
    found: dict[str, Concept] = {}
    for one in concepts:
        first = found.get(one.name.casefold())
        found[one.name.casefold()] = one if first is None else replace(first, sources=first.sources + one.sources)
    return list(found.values())


def format_memory(concepts: Sequence[Concept], results: Sequence[str], origin: Mapping[str, Any]) -> str:
    """Return the text of a memory, which begins with its header.

    Parameters
    ----------
    results : sequence of str
        The SHA-256 of each result file that sources mean.
    origin : mapping
        What else the header states, as JSON has it.
    """
    known = [{"name": one.name, "sources": [source._asdict() for source in one.sources]} for one in concepts]
    header = {"format": FORMAT, "version": VERSION} | dict(origin) | {"results": list(results), "concepts": known}
    line = json.dumps(header, separators=(",", ":"), allow_nan=False)
    return "\n\n".join([line, *[one.text for one in concepts]]) + "\n"


def read_memory(text: str, file: str) -> tuple[list[str], list[ConceptSource]]:
    """Return the concepts of a memory, as models see them, and the problems that they come from.

    Parameters
    ----------
    file : str
        Its name, for errors.

    Raises
    ------
    FormatError
        If it has a header that cannot be read.
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
    """Return a passage as JSON if it is a header, wherever it stands in a file and however it is spaced."""
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
    """Return the sources that a header states."""
    if header.get("version") != VERSION:
        raise FormatError(
            f"{file} is a memory of concepts of version {header.get('version')!r:.40}; this program reads {VERSION}"
        )
    try:
        sources = [ConceptSource(**source) for one in header["concepts"] for source in one["sources"]]
        wrong = [one for one in sources if [type(value) for value in one] != [str, str, str, int]]
    except (KeyError, TypeError) as error:
        raise FormatError(f"{file}: the header is damaged: {error!r:.200}; write the memory again") from error
    if wrong:
        raise FormatError(f"{file}: the header is damaged: {wrong[0]!r:.200} is no source; write the memory again")
    return sources


def question_digest(problem: Problem) -> str:
    """Return the first 16 digits of the SHA-256 of a problem's question, whatever white space separates its words.

    It is the last turn of the user, or the whole prompt where that is a text.
    """
    words = question(replace(problem, data={})).split()
    return hashlib.sha256(" ".join(words).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def check_sources(problem: Problem, sources: Iterable[ConceptSource], file: str) -> None:
    """Raise ParameterError if a concept of a memory comes from the problem that is to be solved, or its question."""
    digest = question_digest(problem)
    for one in sources:
        if one.id == problem.id or one.question == digest:
            same = "" if one.id == problem.id else f", whose question is that of {problem.id}"
            raise ParameterError(
                f"{file} has a concept from {one.id!r:.100} of {one.task!r:.100}{same}: a memory must not come from "
                f"the problem that is solved; write it from training problems alone (intact learn concepts)"
            )
