"""Other questions than the problem's own: about a text, for a program, for a verdict.

They are asked in the problem's conversation: behind its system message and its earlier turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from intact._base.errors import ParameterError
from intact.reason.problem import SPENT, Problem, Prompt, State

VERSION: Final = 3
"""Version of how a conversation becomes a prompt; see `intact.solving.receipts.versions`.

1: a question that a method makes is asked alone; 2: behind all turns before the last; 3: control tokens in contents are
text (`Tokenizer.encode_chat`).
"""
LONGEST: Final = 1 << 24
"""Characters of a question that is made, more than any model reads: a template may repeat what it is given."""


def question(problem: Problem) -> str:
    """Return the question: a conversation's last turn of the user, else ``data["question"]``, else the whole prompt."""
    if isinstance(problem.prompt, str):
        return str(problem.data.get("question", problem.prompt))
    return next((content for role, content in reversed(problem.prompt) if role == "user"), "")


def bare_question(problem: Problem, method: str) -> str:
    """Return the question of a problem for a method that takes nothing else of it.

    Raises
    ------
    ParameterError
        If the problem is a conversation of more than a single turn of the user.
    """
    if not isinstance(problem.prompt, str) and [role for role, _ in problem.prompt] != ["user"]:
        roles = ", ".join([role[:20] for role, _ in problem.prompt[:4]]) + ", ..." * (len(problem.prompt) > 4)
        raise ParameterError(
            f"{method} takes a question alone, one turn of the user, got a conversation ({roles}): it would read "
            "neither system message nor earlier turns; put what matters of them into the question"
        )
    return question(problem)


def with_system(problem: Problem, system: str | None) -> Problem:
    """Return a problem with a system message before its conversation; None is no message.

    Raises
    ------
    ParameterError
        If its prompt is a text to continue.
    """
    if system is None:
        return problem
    if isinstance(problem.prompt, str):
        raise ParameterError("a system message is for conversations, and this model is given a text to continue")
    return replace(problem, prompt=(("system", system), *problem.prompt))


def make_prompt(problem: Problem, template: str, **values: str) -> Prompt:
    """Return a prompt made of a template: a text where the problem's own is one, else a turn in its conversation.

    The turn stands in the place of the last one, if that is the user's, else behind it; all that comes before stays.
    ``{question}`` and the names of values stand for these; other braces stay as they are.

    Raises
    ------
    ParameterError
        If the text would have more than `LONGEST` characters.
    """
    known = {"question": question(problem)} | values
    parts = re.split(r"\{(\w+)\}", template)
    parts[1::2] = [known.get(name, f"{{{name}}}") for name in parts[1::2]]
    if sum(map(len, parts)) > LONGEST:
        raise ParameterError(f"a question may have {LONGEST:,} characters; this template's has more")
    text = "".join(parts)
    if isinstance(problem.prompt, str):
        return text
    answered = not problem.prompt or problem.prompt[-1][0] != "user"
    return (*(problem.prompt if answered else problem.prompt[:-1]), ("user", text))


def follow_up(problem: Problem, replies: Sequence[State], message: str) -> Prompt:
    """Return the problem's prompt, and behind it each reply with the same message as the user's next turn."""
    if isinstance(problem.prompt, str):
        return problem.prompt + "".join([f"{reply.text}\n\n{message}\n\n" for reply in replies])
    return (*problem.prompt, *[turn for one in replies for turn in (("assistant", one.text), ("user", message))])


def as_reply(problem: Problem, state: State) -> State:
    """Return a text that came of another prompt, as if it replied to the problem's own: scorers read both."""
    return replace(state, prompt=problem.prompt)


def read_value(problem: Problem, text: str) -> str | None:
    r"""Return the answer in a text that is nothing but the answer, such as what a program printed.

    Some problems look for answers in a box only: there the text is put in one.
    """
    text = text.strip()
    if not text:
        return None
    answer = problem.read(text)
    return problem.read(rf"\boxed{{{text}}}") if answer is None else answer


def read_list(text: str, most: int) -> list[str]:
    """Return the items of a list, at most so many: lines behind a number or a dash; else every line that is not empty.

    Of equal items only the first counts.
    """
    items = re.findall(r"^[ \t]*(?:\d{1,4}[.)]|[-*•])[ \t]+(\S.*)$", text, re.MULTILINE)
    lines = [line.strip() for line in items or text.splitlines()]
    return list(dict.fromkeys(filter(None, lines)))[:most]


def whole(problem: Problem, state: State) -> bool:
    """Return whether a text gives an answer, and neither budget, context nor an error has cut it short."""
    return state.why not in SPENT and problem.answer(state) is not None
