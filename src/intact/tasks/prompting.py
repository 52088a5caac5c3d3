"""Prompt types: step-by-step reasoning, a direct answer, or steps with reflection (after arXiv 2502.07191).

Bag of Tricks compares these three types, with separate examples for each task and type. Here, a type rewrites the
instruction and the examples of any task that asks for reasoning, so problems, answer formats and graders stay the same.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from intact._base.errors import ParameterError
from intact.reason.problem import Problem
from intact.tasks.task import Item, Style, Task

REASONING: Final = "Please reason step by step, and "
"""The opening of the instruction of every task that asks for reasoning, followed by the format of the answer."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_CHECK = "Reflection: this follows from the question and from what stands before it."


class PromptType(NamedTuple):
    """A prompt type.

    Attributes
    ----------
    opening : str
        The replacement for `REASONING` in prompts for chat models.
    task : str
        The first line of the prompt for base models.
    example : callable
        Builds the answer of an example from its sentences, the last of which states the answer.
    """

    opening: str
    task: str
    example: Callable[[list[str]], str]


def _answer_alone(sentences: list[str]) -> str:
    return sentences[-1]


def _with_checks(sentences: list[str]) -> str:
    return "\n".join([*(f"{step}\n{_CHECK}" for step in sentences[:-1]), sentences[-1]])


PROMPTS: Final[dict[str, PromptType | None]] = {
    "steps": None,
    "direct": PromptType(
        "Please write no reasoning, and ",
        "Task: Answer each question without any reasoning.",
        _answer_alone,
    ),
    "reflective": PromptType(
        'Please reason step by step, write behind each step a line that begins with "Reflection:" and checks it, mend '
        "what is wrong, and ",
        'Task: Answer each question step by step. Behind each step write a line that begins with "Reflection:" and '
        "checks it, and mend what is wrong.",
        _with_checks,
    ),
}
"""Prompt types by name; the first is the default and leaves tasks unchanged."""


def check_prompt(task: Task, kind: str) -> None:
    """Raise ParameterError if there is no such prompt type, or the task does not support it."""
    if kind not in PROMPTS:
        *others, last = PROMPTS
        raise ParameterError(f"{task.name}: prompt must be {', '.join(others)} or {last}, got {kind!r}")
    if PROMPTS[kind] is not None and not task.instruction.startswith(REASONING):
        raise ParameterError(f"{task.name}: prompt={kind} needs a task that asks for steps of reasoning and an answer")


def problem_of(task: Task, item: Item, kind: str, style: Style, seed: int, shots: int | None) -> Problem:
    """Return an item in the form that methods see, with a prompt type from `PROMPTS` applied."""
    found = PROMPTS[kind]
    if found is None:
        return task.problem(item, style, seed, shots)
    changed = copy.copy(task)
    vars(changed).update(
        instruction=found.opening + task.instruction.removeprefix(REASONING),
        shots=tuple((question, found.example(_SENTENCE.split(answer))) for question, answer in task.shots),
    )
    made = changed.problem(item, style, seed, shots)
    return replace(made, prompt=f"{found.task}\n\n{made.prompt}") if isinstance(made.prompt, str) else made
