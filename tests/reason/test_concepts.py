"""Memories of concepts: what is in the form, what is merged, and which problems a memory is refused for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.reason import Problem, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.parts.concepts import (
    FORMAT,
    Concept,
    ConceptSource,
    check_sources,
    format_memory,
    merge_concepts,
    parse_concept,
    question_digest,
    read_memory,
)
from support.script import ScriptBackend

TEXT = """\
Name: Rates add up
Kind: routine
Parameters: rates: list of numbers
Description: Add the rates of those who work together.
Cues: Several work at once."""
RATES = Concept(
    name="Rates add up",
    kind="routine",
    parameters="rates: list of numbers",
    description="Add the rates of those who work together.",
    cues="Several work at once.",
)
PROBLEM = Problem("toy/train/3", (("user", "How fast are both?"),))


def source(problem: Problem = PROBLEM, task: str = "toy:split=train") -> ConceptSource:
    return ConceptSource(task, problem.id, question_digest(problem), 0)


def memory(tmp_path: Path, *sources: ConceptSource) -> str:
    file = tmp_path / "concepts.txt"
    file.write_text(format_memory([replace(RATES, sources=sources)], ["ab" * 32], {"models": []}))
    return str(file)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"Here is one.\n\n```\n{TEXT}\n```\nI hope that it helps.",
        TEXT.replace("Name:", "**Name**:").replace("Kind: routine", "**Kind:** Routine."),
        TEXT.replace(" rates:", "\n- rates:").replace(" who work", "\n  who work"),
        f"<think>Name: no\nName: no</think>\n{TEXT}",
        f"{TEXT}\n\nName: another",
        "\n".join(reversed(TEXT.split("\n"))),
    ],
)
def test_a_concept_is_each_field_once(text: str) -> None:
    assert parse_concept(text) == RATES


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.rpartition("\n")[0],
        TEXT.replace("Several work at once.", ""),
        TEXT.replace("routine", "trick"),
        f"Name: another\n{TEXT}",
        TEXT.replace("Rates", "Rates" * 40),
    ],
)
def test_what_lacks_a_field_or_states_one_twice_is_no_concept(text: str) -> None:
    assert parse_concept(text) is None


def test_of_a_text_that_was_cut_an_empty_line_must_end_the_concept() -> None:
    assert parse_concept(TEXT, cut=True) is None
    assert parse_concept(f"{TEXT}\n\nAnd now", cut=True) == RATES


def test_the_items_of_a_list_are_separated_by_semicolons() -> None:
    found = parse_concept(TEXT.replace(" rates: list of numbers", "\n- rate: number\n- time: number"))
    assert found is not None
    assert found.parameters == "rate: number; time: number"


def test_a_concept_is_one_passage_whatever_the_model_wrote() -> None:
    found = parse_concept(TEXT.replace("work together", "work\r\n\u2028\v\ud800together"))
    assert found is not None
    assert read_memory(format_memory([found], [], {}), "file")[0] == [found.text]


def test_of_concepts_of_one_name_the_first_stands_with_the_sources_of_all() -> None:
    one, two = source(), source(replace(PROBLEM, id="toy/train/4"))
    other = replace(RATES, name="Other", sources=(one,))
    loud = replace(RATES, name="RATES ADD UP", description="Later.", sources=(two,))
    assert merge_concepts([replace(RATES, sources=(one,)), other, loud]) == [
        replace(RATES, sources=(one, two)),
        other,
    ]


def test_models_do_not_see_where_concepts_come_from(tmp_path: Path) -> None:
    file = memory(tmp_path, source())
    assert read_memory(Path(file).read_text(), file) == ([TEXT], [source()])
    backend = ScriptBackend(lambda prompt, *_: "Concepts: 1" if prompt.startswith("Which") else "done")
    values = {"file": file, "n": 1, "select": "Which? {concepts}", "use": "{concepts}|{question}"}
    job = MethodJob(find("concept_memory"), Problem("other", "Q?"), values)
    ((_, result),) = Driver({"main": backend}, sampling={"max_tokens": 400}).solve([job])
    assert result.answer.answer == "done"
    assert backend.asked == [f"Which? Concept 1: {TEXT}", f"{TEXT}|Q?"]


@pytest.mark.parametrize("change", ["two files", "sorted", "a mark of the encoding"])
def test_a_header_is_found_wherever_it_stands_and_however_it_is_spaced(tmp_path: Path, change: str) -> None:
    text = Path(memory(tmp_path, source())).read_text()
    header, _, rest = text.partition("\n")
    if change == "two files":
        text = f"A concept of one's own\n\n{text}\n{text}"
    elif change == "sorted":
        text = json.dumps(json.loads(header), sort_keys=True, indent=1) + "\n" + rest
    else:
        text = "\ufeff" + text
    concepts, sources = read_memory(text, "concepts.txt")
    assert not any(FORMAT in one for one in concepts)
    assert set(sources) == {source()}
    with pytest.raises(ParameterError, match="a memory must not come from the problem"):
        check_sources(PROBLEM, sources, "concepts.txt")


def test_json_that_is_no_header_is_a_concept() -> None:
    assert read_memory('{"a": 1}\n\n{b}', "concepts.txt") == (['{"a": 1}', "{b}"], [])


def test_a_file_without_a_header_has_concepts_alone() -> None:
    text = '{"format": "mine"}\n\nsecond'
    assert read_memory(text, "file") == (['{"format": "mine"}', "second"], [])
    assert read_memory("", "file") == ([], [])


def refusal(file: str, problem: Problem) -> str:
    """The error of a problem that is refused before any text is begun."""
    backend = ScriptBackend(lambda *_: "done")
    job = MethodJob(find("concept_memory"), problem, {"file": file})
    ((_, result),) = Driver({"main": backend}, sampling={"max_tokens": 400}).solve([job])
    assert (result.why, backend.asked, result.cost.tokens) == ("failed", [], 0)
    return result.error


def test_a_memory_from_the_problem_itself_is_refused_before_the_first_token(tmp_path: Path) -> None:
    other = source(Problem("toy/train/1", "Else?"))
    error = refusal(memory(tmp_path, other, source()), PROBLEM)
    assert "concepts.txt has a concept from 'toy/train/3' of 'toy:split=train'" in error
    assert "write it only from training problems" in error


def test_a_memory_from_the_same_question_under_another_name_is_refused(tmp_path: Path) -> None:
    error = refusal(memory(tmp_path, source()), Problem("toy/all/3", "How  fast\nare both?"))
    assert "a concept from 'toy/train/3' of 'toy:split=train', whose question is that of toy/all/3" in error


def test_the_guard_reads_no_data_of_the_problem() -> None:
    class Unread(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            raise AssertionError(name)

    check_sources(replace(PROBLEM, id="x", prompt="Else?", data=Unread(question="Q")), [source()], "file")
    with pytest.raises(ParameterError, match="toy/train/3"):
        check_sources(PROBLEM, [source()], "file")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version":1', '"version":2', "is a memory of concepts of version 2, but this program reads version 1"),
        ('"id":"toy/train/3"', '"id":3', "is not a source; write the memory again"),
        ('"sources"', '"source"', "the header is damaged: KeyError"),
        ('"task"', '"tusk"', "the header is damaged: TypeError"),
        ("]}\n", "\n", "the header is not valid JSON"),
    ],
)
def test_a_damaged_header_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = memory(tmp_path, source())
    with pytest.raises(FormatError, match=message):
        read_memory(Path(file).read_text().replace(old, new), file)
