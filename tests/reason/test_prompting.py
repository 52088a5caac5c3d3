"""Questions that methods make stand in the conversation of the problem; a method that cannot take one says so."""

import pytest

from intact._base.errors import ParameterError
from intact.reason import Problem
from intact.reason.parts.prompting import bare_question, make_prompt

CONVERSATION = (("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello."), ("user", "Why?"))
MADE = "{question} Write a program."


@pytest.mark.parametrize(
    ("prompt", "made"),
    [
        ("Why?", "Why? Write a program."),
        (CONVERSATION[-1:], (("user", "Why? Write a program."),)),
        (CONVERSATION, (*CONVERSATION[:-1], ("user", "Why? Write a program."))),
        (CONVERSATION[:3], (*CONVERSATION[:3], ("user", "Hi. Write a program."))),
        ((("user", "Why?"), ("tool", "42")), (("user", "Why?"), ("tool", "42"), ("user", "Why? Write a program."))),
        (CONVERSATION[:1], (*CONVERSATION[:1], ("user", " Write a program."))),
    ],
)
def test_a_made_question_keeps_all_that_stands_before_it(prompt, made):
    assert make_prompt(Problem("p", prompt), MADE) == made


def test_a_bare_question_is_one_turn_of_the_user():
    assert bare_question(Problem("p", CONVERSATION[-1:]), "linc") == "Why?"
    assert bare_question(Problem("p", "Answer: Why?", data={"question": "Why?"}), "linc") == "Why?"
    for prompt in (CONVERSATION, CONVERSATION[:1], CONVERSATION[1:]):
        with pytest.raises(ParameterError, match=r"linc takes only a question \(one user turn\), got a conversati"):
            bare_question(Problem("p", prompt), "linc")
