"""Learn a concept memory: collect the problems that runs solved, and have a model write a concept for each.

This is the writing half of ArcMemo (Ho et al. 2025, arXiv 2509.04439); the method `concept_memory` is the reading half.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from intact._base import strict_json
from intact._base.errors import FormatError, ParameterError
from intact._base.files import sha256_of
from intact.evaluate.files import read, traces_of
from intact.evaluate.manifest import run_settings
from intact.evaluate.results import EvaluationRun, ItemRecord
from intact.evaluate.samples import leaves
from intact.reason.backends.base import Backend
from intact.reason.budget import Budget
from intact.reason.driving.driver import PARALLEL
from intact.reason.driving.services import LARGEST_FILE, MethodJob
from intact.reason.parts.concepts import (
    FIELDS,
    Concept,
    ConceptSource,
    format_memory,
    merge_concepts,
    parse_concept,
    question_digest,
)
from intact.reason.parts.prompting import make_prompt, question
from intact.reason.problem import CUT, Problem, Result
from intact.reason.registry import find
from intact.solving.run import solve_all, takes_conversations

METHOD: Final = "chain_of_thought"
"""The method that writes each concept: one completion, at temperature 0."""
WRITE: Final = """\
Here is a problem with a solution that is right.

Problem:
{question}

Solution:
{solution}

Write down one concept of this solution that will help with other problems: an idea that can be used again, in general \
words, without the numbers, names and the answer of this problem. Reply in this form alone, a line a field:

Name: a few words
Kind: structure (what such problems consist of) or routine (what is done with them)
Parameters: what varies from problem to problem, each with its type; or none
Description: what the concept is and how it is used
Cues: how a problem shows that the concept helps"""


class SolvedProblem(NamedTuple):
    """A solved training problem, with the completion that gave the answer."""

    source: ConceptSource
    question: str
    solution: str


@dataclass(frozen=True)
class SolvedProblems:
    """The problems that runs solved, without duplicates, in the order of the files and their records.

    Attributes
    ----------
    results : tuple of str
        The SHA-256 of each result file.
    read : int
        The number of problems in these files, solved or not.
    without_text : int
        The number of problems solved although no completion gives the answer, for example by comparing likelihoods.
    test : tuple of str
        The labels of those tasks whose split is called test.
    """

    solved: tuple[SolvedProblem, ...]
    results: tuple[str, ...]
    read: int
    without_text: int
    test: tuple[str, ...]


@dataclass(frozen=True)
class WrittenMemory:
    """A memory that a model wrote.

    Attributes
    ----------
    text : str
        The content of the file.
    concepts : tuple of Concept
        The concepts, with distinct names.
    counts : mapping of str to int
        Problems ``read`` and ``solved``; concepts ``written`` and ``merged`` into an earlier one of the same name; and
        problems left out: ``not_in_form``, ``failed`` (no reply), and ``without_text`` (no completion).
    error : str
        The first error, if any requests failed.
    """

    text: str
    concepts: tuple[Concept, ...]
    counts: Mapping[str, int]
    error: str


def solved_problems(files: Sequence[Path]) -> SolvedProblems:
    """Read result files with their traces, and return the problems that were solved.

    A problem solved by several records, from different seeds or files, counts once, and the first record is used. Tasks
    with different parameters have different problems, even if their ids are the same.

    Raises
    ------
    ParameterError
        If a file or its traces are missing, a file is given twice, or no problem was solved in a completion.
    FormatError
        As `intact.evaluate.files.read`, or if the traces do not match the records.
    """
    found: dict[tuple[str, str], SolvedProblem] = {}
    results, ids, bare, test = list[str](), set[tuple[str, str]](), set[tuple[str, str]](), list[str]()
    for place, file in enumerate(files):
        run = read(file)
        if len(run.traces) < len(run.records):
            raise ParameterError(
                f"{traces_of(file)}, which contains the texts of {file}, is missing: put it there, or repeat the run: "
                f"{run.manifest['command']}"
            )
        results.append(sha256_of(file))
        if results[-1] in results[:-1]:
            raise ParameterError(f"{file} is given twice; name each result file once")
        for number, record in enumerate(run.records):
            task = run.manifest["tasks"][record.task]
            problem = json.dumps([task["name"], task["parameters"]], sort_keys=True), record.id
            ids.add(problem)
            if record.correct and problem not in found:
                one = _solved(run, number, place, file)
                if one is None:
                    bare.add(problem)
                else:
                    found[problem] = one
                    test += [task["label"]] if task.get("split") == "test" else []
    if not found:
        raise ParameterError(
            f"no concept can be written: none of the {len(ids)} problems in {', '.join(map(str, files))} has a "
            f"text with a right answer"
        )
    without_text = len(bare - found.keys())
    return SolvedProblems(
        tuple(found.values()), tuple(results), len(ids), without_text, test=tuple(dict.fromkeys(test))
    )


def _solved(run: EvaluationRun, number: int, place: int, file: Path) -> SolvedProblem | None:
    """Return the problem of a solved record, or None if no completion gives the answer."""
    record, where = run.records[number], f"{traces_of(file)}, line {number + 1}"
    tree = strict_json.parse(run.traces[number], where, error=FormatError)
    try:
        if tree["id"] != record.id:
            raise KeyError(f"the tree of {record.id}")
        texts = {leaf.branch: leaf.answer_part or "" for leaf in leaves(tree["nodes"], tree.get("chosen"))}
        solution = texts.get(_right_branch(record) or "", "").strip()
        if not solution:
            return None
        given = tree["prompt"]
        problem = Problem(record.id, given if isinstance(given, str) else tuple([(role, text) for role, text in given]))
        source = ConceptSource(run.manifest["tasks"][record.task]["label"], record.id, question_digest(problem), place)
        return SolvedProblem(source, question(problem), solution)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{where} is not a tree of texts of its result file: {error!r:.200}") from error


def _right_branch(record: ItemRecord) -> str | None:
    """Return the branch of the completion that gave the answer, else of the first right one; None if neither exists."""
    chosen = [] if record.chosen is None else [record.samples[record.chosen]]
    return next((one.branch for one in [*chosen, *record.samples] if one.correct), None)


def check_prompt(template: str) -> None:
    """Raise ParameterError unless a concept prompt has placeholders for the question and the solution."""
    for name in ("question", "solution"):
        if f"{{{name}}}" not in template:
            raise ParameterError(
                f"the prompt for concepts must have {{question}} and {{solution}}, and request the fields "
                f"{', '.join(FIELDS)}; it lacks {{{name}}}: {template!r:.80}"
            )


def write_memory(
    backends: Mapping[str, Backend],
    problems: SolvedProblems,
    *,
    prompt: str = WRITE,
    max_tokens: int = 512,
    journal: Path | None = None,
    parallel: int = PARALLEL,
    done: Callable[[], None] | None = None,
) -> WrittenMemory:
    """Have a model write a concept for each problem, and merge concepts with the same name.

    Decoding is greedy, so the replies depend only on the model, the prompt and the problem.

    Parameters
    ----------
    backends : mapping of str to Backend
        The model that writes, keyed by its name.
    prompt : str
        The prompt that asks for a concept, with placeholders {question} and {solution}.
    parallel : int
        Maximum number of concurrent problems. It does not change the result.
    done : callable, optional
        Called after each problem.

    Raises
    ------
    ParameterError
        If the prompt lacks a placeholder, no reply has the required form, or the memory would be too large for methods
        to read.
    """
    check_prompt(prompt)
    sampling = {"temperature": 0.0, "max_tokens": max_tokens}
    converses = takes_conversations(next(iter(backends.values())))
    jobs = [MethodJob(find(METHOD), _request(one, prompt, converses), {}) for one in problems.solved]
    results: dict[int, Result] = {}
    with closing(solve_all(backends, jobs, sampling=sampling, journal=journal, parallel=parallel)) as ended:
        for number, result in ended:
            results[number] = result
            if done is not None:
                done()
    ordered = [results[number] for number in range(len(jobs))]
    written = [
        replace(concept, sources=(one.source,))
        for one, result in zip(problems.solved, ordered, strict=True)
        if (concept := _concept_of(result)) is not None
    ]
    concepts = merge_concepts(written)
    errors = [f"{result.id}: {result.error}" for result in ordered if result.why == "failed"]
    counts = {
        "read": problems.read,
        "solved": len(jobs),
        "written": len(written),
        "merged": len(written) - len(concepts),
        "not_in_form": len(jobs) - len(written) - len(errors),
        "failed": len(errors),
        "without_text": problems.without_text,
    }
    if not concepts:
        hint = f"the first that failed: {errors[0]}" if errors else "try a larger model, or another prompt"
        raise ParameterError(
            f"no concept was written: of {len(jobs)} replies, {counts['not_in_form']} do not have the form "
            f"({', '.join(FIELDS)}), and {len(errors)} failed; {hint}"
        )
    text = format_memory(concepts, problems.results, _origin(backends, prompt, sampling) | {"counts": counts})
    if (size := len(text.encode())) > LARGEST_FILE:
        raise ParameterError(
            f"the memory would be {size:,} bytes long, but methods read at most {LARGEST_FILE:,}: "
            f"learn from fewer problems"
        )
    return WrittenMemory(text, tuple(concepts), counts, errors[0] if errors else "")


def _request(solved: SolvedProblem, template: str, converses: bool) -> Problem:
    """Return a problem that asks for a concept and whose answer is the whole reply."""
    problem = Problem(solved.source.id, (("user", solved.question),) if converses else solved.question)
    return replace(problem, prompt=make_prompt(problem, template, solution=solved.solution))


def _concept_of(result: Result) -> Concept | None:
    """Return the concept in a reply, or None if the request failed or the reply does not have the required form."""
    reply = result.answer.chosen
    return None if result.why == "failed" or reply is None else parse_concept(reply.text, reply.why in CUT)


def _origin(backends: Mapping[str, Backend], prompt: str, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Return the origin that a memory records: the model, the method, the prompt and the caveats."""
    settings = run_settings(find(METHOD), {}, sampling, Budget(), backends=backends)
    caveats = list(dict.fromkeys(caveat for backend in backends.values() for caveat in backend.caveats))
    made = {name: settings[name] for name in ("models", "method", "now")}
    return made | {"prompt": prompt, "caveats": caveats}
