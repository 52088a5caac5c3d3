"""User-defined tasks, declared in a TOML file: the source of their items, their prompts, and their grader."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from intact._base.errors import FormatError, ParameterError
from intact._base.packages import check_installed
from intact._base.suggest import unknown_name
from intact.tasks.choice import LETTERS, Choice, place_of, with_choices
from intact.tasks.data import Row, read_rows, row_place
from intact.tasks.exact import LINES, Exact, count_lines
from intact.tasks.likelihood import LikelihoodTask
from intact.tasks.numeric import Numeric
from intact.tasks.score import answers
from intact.tasks.task import Item, Task

_TABLES = {
    "": {"name", "line", "source", "licence", "grader", "items", "prompt"},
    "items": {"file", "hub", "config", "split", "revision", "id", "question", "answer", "choices", "after", "cluster"},
    "prompt": {"instruction", "shots", "stops"},
}
_FIELD = re.compile(r"\{([\w.]+)\}")
_ANSWERS = "answers"
"""The key in an item's secret data that lists all right answers, if there are several."""


class _Expression(Task):
    """Tasks whose answers are LaTeX expressions."""

    uses = ("reader expression",)
    instruction = "Please reason step by step, and put your final answer within \\boxed{}."

    def read(self, text: str) -> str | None:
        """Return the canonical form of the expression in the last box."""
        return answers.expression(text)

    def can_judge(self, item: Item) -> bool:
        """Return true if the answer can be read from a box."""
        return bool(self.read(f"\\boxed{{{item.answer}}}"))

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the two are mathematically equal."""
        return answer is not None and answers.same(item.answer, answer)


class _LetteredChoice(Choice):
    """Multiple-choice tasks whose items may differ in their number of choices."""

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the letter in a completion, among those of the item's choices."""
        return self.read_letter(text, LETTERS[: len(item.data["choices"])])

    def read_stated(self, item: Item, text: str) -> str | None:
        """Return the letter that a completion states as its answer."""
        return self.read_stated_letter(text, LETTERS[: len(item.data.get("choices", LETTERS))])


class _Likeliest(LikelihoodTask):
    """Likelihood tasks; the answer is the index of the right choice."""

    def context(self, item: Item) -> str:
        """Return the question unchanged."""
        return item.question


GRADERS: Mapping[str, Any] = {
    "number": Numeric,
    "choice": _LetteredChoice,
    "expression": _Expression,
    "exact": Exact,
    "likelihood": _Likeliest,
}


class _Declared(Task):
    """The base class of tasks declared in a TOML file; the grader's class is the other base."""

    declaration: ClassVar[Mapping[str, Any]]
    folder: ClassVar[Path]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The declaration, on which grading depends."""
        return self.declaration

    def source_of(self, split: str, folder: Path | None) -> tuple[str, Iterable[tuple[int, Row]]]:
        """Return the name and rows of the declared file, found relative to the declaration, or of the Hub dataset."""
        items = self.declaration["items"]
        if "hub" in items:
            return str(items["hub"]), enumerate(_from_hub(items))
        path = self.folder / items["file"]
        return str(path), enumerate(read_rows(path))

    def parse(self, row: Row, index: int) -> Item:
        """Fill in the declared templates with a row's fields."""
        items = self.declaration["items"]
        for key in ("question", "answer", "choices", "id", "cluster"):
            if key in items and (problem := _missing_field(key, items[key], row)):
                raise FormatError(f"{self._place(items, index)}: {problem}")
        question = _fill(items["question"], row)
        given = [self._after(answer) for answer in _answers(items["answer"], row)]
        name = _fill(items["id"], row) if "id" in items else str(index)
        cluster = _fill(items["cluster"], row) if "cluster" in items else ""
        data: dict[str, Any] = {}
        if "choices" in items:
            choices = _choices(items["choices"], row)
            is_place = _is_whole_number(items["answer"], row)
            places = [place_of(answer, choices, is_place=is_place) for answer in given]
            data = {"choices": choices}
            if isinstance(self, LikelihoodTask):
                given = list(map(str, places))
            else:
                question, given = with_choices(question, choices), [LETTERS[place] for place in places]
        elif isinstance(self, Exact) and (lines := max(map(count_lines, given))) > 1:
            data = {LINES: lines}
        given = list(dict.fromkeys(given))
        if len(given) > 1 and isinstance(self, LikelihoodTask):
            raise ValueError("the answer is a list, but only one of the compared choices can be right")
        secret = {_ANSWERS: given} if len(given) > 1 else {}
        return Item(name, question, given[0], data, secret=secret, cluster=cluster)

    def _after(self, answer: str) -> str:
        """Return the part of a field that is the answer: the text after the declared marker."""
        mark = self.declaration["items"].get("after")
        if mark is None:
            return answer
        answer = answer.rpartition(mark)[2].strip()
        return answer.replace(",", "") if isinstance(self, Numeric) else answer  # commas matter in other answers

    def load(self, split: str | None = None, limit: int | None = None, folder: Path | None = None) -> list[Item]:
        """Return the first items of the split.

        Raises
        ------
        ParameterError, FormatError
            As `Task.load`; also FormatError if the same question has two different right answers.
        """
        items, known = super().load(split, limit, folder), dict[tuple[str, str], Item]()
        for item in items:
            first = known.setdefault((item.question, repr(item.data)), item)
            if (item.answer, item.secret) != (first.answer, first.secret):
                raise FormatError(
                    f"{self.called}: {first.id} and {item.id} ask the same question but have different answers, "
                    f"{first.answer!r:.60} and {item.answer!r:.60}; put several right answers into one row, as a list"
                )
        return items

    def can_judge(self, item: Item) -> bool:
        """Return true if `correct` can compare answers with each right answer."""
        return all(super(_Declared, self).can_judge(one) for one in _right(item))

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if the answer matches any of the right answers."""
        return any(super(_Declared, self).correct(one, answer) for one in _right(item))

    def _place(self, items: Mapping[str, Any], index: int) -> str:
        """Return the position of a row, for messages."""
        if "hub" in items:
            return f"{items['hub']}, row {index + 1}"
        path = self.folder / items["file"]
        return f"{path}, {row_place(path, index)}"


def read_task(path: Path) -> Task:
    """Read a task's declaration (docs/evaluation.md).

    Raises
    ------
    ParameterError
        If the file is missing.
    FormatError
        If it does not declare a valid task; the message names the key.
    """
    if not path.is_file():
        raise ParameterError(f"{path}: no such file")
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is not valid TOML: {error}") from error
    items: Any = found.get("items")
    prompt: Any = found.get("prompt", {})
    for table, value in (("", found), ("items", items), ("prompt", prompt)):
        if not isinstance(value, dict):
            raise FormatError(f"{path}: [{table}] is missing or is not a table")
        if unknown := set(value) - _TABLES[table]:
            problem = f"{path}: {'.'.join(filter(None, [table, min(unknown)]))} is not a known key"
            raise FormatError(unknown_name(problem, min(unknown), sorted(_TABLES[table]), "allowed:"))
    if "grader" not in found:
        raise FormatError(f"{path}: grader is missing; expected one of {', '.join(GRADERS)}")
    grader = found["grader"]
    kind = GRADERS.get(grader) if isinstance(grader, str) else None
    if kind is None:
        problem = f"{path}: no grader named {grader!r:.60}"
        raise FormatError(unknown_name(problem, str(grader), GRADERS))
    needed = ["question", "answer", *["choices"] * (grader in ("choice", "likelihood"))]
    _require(path, "items", items, str, keys=[key for key in _TABLES["items"] if key in items or key in needed])
    if ("file" in items) == ("hub" in items):
        raise FormatError(f"{path}: [items] must have either file or hub, not both")
    _require(path, "", found, str, keys=[key for key in ("name", "line", "source", "licence") if key in found])
    _require(path, "prompt", prompt, str, keys=["instruction"] if "instruction" in prompt else [])
    name = found.get("name", path.stem)
    if not name.isidentifier():
        raise FormatError(f"{path}: name must consist of letters, digits and _, got {name!r}")
    attributes: dict[str, Any] = {
        "name": name,
        "called": path.name,
        "line": found.get("line", f"as {path.name} declares it"),
        "source": found.get("source", items.get("hub", items.get("file"))),
        "licence": found.get("licence", "unknown"),
        "files": {items.get("split", "test"): items.get("file", "")},
        "declaration": found,
        "folder": path.resolve().parent,
        "shots": _shots(path, prompt.get("shots", [])),
        "__module__": __name__,
    }
    if "instruction" in prompt:
        attributes["instruction"] = prompt["instruction"]
    if "stops" in prompt:
        attributes["stops"] = _stops(path, prompt["stops"])
    return type("Declared", (_Declared, kind), attributes)()  # type: ignore[no-any-return]


def _require(path: Path, table: str, value: Mapping[str, Any], kind: type, keys: Iterable[str]) -> None:
    for key in keys:
        where = ".".join(filter(None, [table, key]))
        if key not in value:
            raise FormatError(f"{path}: {where} is missing")
        if not isinstance(value[key], kind):
            raise FormatError(f"{path}: {where} must be a string, got {value[key]!r:.80}")


def _shots(path: Path, given: Any) -> tuple[tuple[str, str], ...]:
    pairs = isinstance(given, list) and all(isinstance(shot, list) and len(shot) == 2 for shot in given)
    if not pairs or not all(isinstance(text, str) for shot in given for text in shot):
        raise FormatError(f"{path}: prompt.shots must be a list of [question, answer] pairs of strings")
    return tuple((question, answer) for question, answer in given)


def _stops(path: Path, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(text, str) and text for text in given):
        raise FormatError(f'{path}: prompt.stops must be a list of strings such as ["\\n"], got {given!r:.80}')
    return tuple(given)


def _missing_field(key: str, template: str, row: Row) -> str:
    """Return a message about the first field of a template that the row lacks, or an empty string.

    Parameters
    ----------
    key : str
        The setting that contains the template.
    """
    for name in [template] if key == "choices" else _FIELD.findall(template):
        value: Any = row
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                has = ", ".join(map(str, value)) if isinstance(value, Mapping) else f"{value!r:.60}"
                return f'the row has no field {name!r:.60}, which {key} = "{template:.80}" names; it has {has:.200}'
            value = value[part]
            if value is None:
                break  # `_field` raises for null
    return ""


def _field(name: str, row: Row) -> Any:
    """Return a field of a row; a dot reaches nested fields, as in choices.text."""
    value: Any = row
    for part in name.split("."):
        value = value[part]
        if value is None:
            raise ValueError(f"the field {name} is empty: it is null, or its CSV row is too short")
    return value


def _choices(name: str, row: Row) -> list[str]:
    """Return the field that lists the choices, as strings."""
    found = _field(name, row)
    if not isinstance(found, list) or None in found:
        raise ValueError(f"the field {name} must contain a list of choices, but contains {found!r:.80}")
    return [str(choice) for choice in found]


def _answers(template: str, row: Row) -> list[str]:
    """Fill in the answer template; if a field that it names is a list, return one answer per element."""
    lists = [name for name in dict.fromkeys(_FIELD.findall(template)) if isinstance(_field(name, row), list)]
    if not lists:
        return [_fill(template, row)]
    if len(lists) > 1:
        raise ValueError(f"{' and '.join(lists)} are lists of answers, but only one field may be a list")
    found = _field(lists[0], row)
    if not found or None in found:
        raise ValueError(f"the field {lists[0]} must list right answers, but contains {found!r:.80}")
    return [_fill(template, row, {lists[0]: one}) for one in found]


def _is_whole_number(template: str, row: Row) -> bool:
    """Return true if the answer template is a single field that contains an integer or a list of integers."""
    field = _FIELD.fullmatch(template)
    value = _field(field[1], row) if field else None
    values = value if isinstance(value, list) else [value]
    return all(type(one) is int for one in values)


def _right(item: Item) -> list[Item]:
    """Return a copy of the item for each right answer."""
    return [replace(item, answer=answer) for answer in item.secret.get(_ANSWERS, [item.answer])]


def _fill(template: str, row: Row, chosen: Mapping[str, Any] | None = None) -> str:
    """Replace each {field} in a template with the row's value, or with the value in `chosen`.

    Leave other braces as they are.
    """
    given = chosen or {}
    return _FIELD.sub(lambda one: str(given[one[1]] if one[1] in given else _field(one[1], row)), template)


def _from_hub(items: Mapping[str, Any]) -> Iterable[Row]:
    check_installed("a data set of the hub", "datasets")
    from datasets import load_dataset

    try:
        found = load_dataset(
            items["hub"], items.get("config"), split=items.get("split", "test"), revision=items.get("revision")
        )
    except Exception as error:  # of many types, network errors included
        raise ParameterError(f"the data set {items['hub']} cannot be loaded: {error!s:.300}") from error
    rows: Iterable[Row] = found
    return rows
