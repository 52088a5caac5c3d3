"""Prompts other than the problem's own, such as a question about a completion or a request for a program or verdict.

They are placed in the problem's conversation, after its system message and earlier turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from intact._base.errors import ParameterError
from intact.reason.problem import SPENT, Problem, Prompt, State

VERSION: Final = 3
"""Version of the conversion of a conversation to a prompt; see `intact.solving.receipts.versions`.

1: a method's question is asked on its own; 2: it follows all turns before the last; 3: control tokens in message
contents are treated as text (`Tokenizer.encode_chat`).
"""
LONGEST: Final = 1 << 24
"""Maximum number of characters of a filled template (more than any model reads); templates may repeat values."""


def question(problem: Problem) -> str:
    """Return the question: the last user turn of a conversation, else ``data["question"]``, else the whole prompt."""
    if isinstance(problem.prompt, str):
        return str(problem.data.get("question", problem.prompt))
    return next((content for role, content in reversed(problem.prompt) if role == "user"), "")


def bare_question(problem: Problem, method: str) -> str:
    """Return the question of a problem, for a method that uses nothing else of the prompt.

    Raises
    ------
    ParameterError
        If the problem is a conversation with more than one user turn.
    """
    if not isinstance(problem.prompt, str) and [role for role, _ in problem.prompt] != ["user"]:
        roles = ", ".join([role[:20] for role, _ in problem.prompt[:4]]) + ", ..." * (len(problem.prompt) > 4)
        raise ParameterError(
            f"{method} takes only a question (one user turn), got a conversation ({roles}): it would ignore "
            "the system message and earlier turns; put what matters in them into the question"
        )
    return question(problem)


def with_system(problem: Problem, system: str | None) -> Problem:
    """Return a problem with a system message before its conversation; None adds no message.

    Raises
    ------
    ParameterError
        If the prompt is plain text to be continued.
    """
    if system is None:
        return problem
    if isinstance(problem.prompt, str):
        raise ParameterError("a system message needs a conversation, but this model gets a text to continue")
    return replace(problem, prompt=(("system", system), *problem.prompt))


def make_prompt(problem: Problem, template: str, **values: str) -> Prompt:
    """Fill in a template: plain text if the problem's prompt is plain text, otherwise a turn in its conversation.

    The new turn replaces the last turn if that is a user turn, and otherwise follows it; everything before it is kept.
    ``{question}`` and the names of values are replaced; other braces are kept.

    Raises
    ------
    ParameterError
        If the text would have more than `LONGEST` characters.
    """
    known = {"question": question(problem)} | values
    parts = re.split(r"\{(\w+)\}", template)
    parts[1::2] = [known.get(name, f"{{{name}}}") for name in parts[1::2]]
    if sum(map(len, parts)) > LONGEST:
        raise ParameterError(
            f"a question may have at most {LONGEST:,} characters; the one made with this template has more"
        )
    text = "".join(parts)
    if isinstance(problem.prompt, str):
        return text
    answered = not problem.prompt or problem.prompt[-1][0] != "user"
    return (*(problem.prompt if answered else problem.prompt[:-1]), ("user", text))


def follow_up(problem: Problem, replies: Sequence[State], message: str) -> Prompt:
    """Return, for each reply, the problem's prompt followed by the reply and a message as the next user turn."""
    if isinstance(problem.prompt, str):
        return problem.prompt + "".join([f"{reply.text}\n\n{message}\n\n" for reply in replies])
    return (*problem.prompt, *[turn for one in replies for turn in (("assistant", one.text), ("user", message))])


def as_reply(problem: Problem, state: State) -> State:
    """Return a reply to another prompt as a reply to the problem's own prompt, because scorers read both."""
    return replace(state, prompt=problem.prompt)


def read_value(problem: Problem, text: str) -> str | None:
    r"""Return the answer from text that consists only of the answer, such as a program's output.

    Some problems look for answers only in a box; for these, the text is put in a box.
    """
    text = text.strip()
    if not text:
        return None
    answer = problem.read(text)
    return problem.read(rf"\boxed{{{text}}}") if answer is None else answer


def read_list(text: str, most: int) -> list[str]:
    """Return the items of a list, at most `most`: lines with a number or a dash, or else every non-empty line.

    Duplicate items are dropped.
    """
    items = re.findall(r"^[ \t]*(?:\d{1,4}[.)]|[-*•])[ \t]+(\S.*)$", text, re.MULTILINE)
    lines = [line.strip() for line in items or text.splitlines()]
    return list(dict.fromkeys(filter(None, lines)))[:most]


def whole(problem: Problem, state: State) -> bool:
    """Return true if a completion gives an answer and was not cut short by the budget, the context or an error."""
    return state.why not in SPENT and problem.answer(state) is not None
