"""Thoughts are not the answer; how models think before they answer, and in how many tokens."""

import pytest

from intact._base.errors import ParameterError
from intact.reason import Extend, Problem, State, method
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.problem import Piece
from intact.reason.registry import find
from intact.reason.thinking import ThinkingMode, ThoughtCap
from intact.tasks.choose import choose
from intact.tasks.score import answers
from intact.tasks.task import Item, find_task
from intact.text.template import ChatTemplate
from intact.text.thinking import HARMONY, answer_part, prompt_mark
from support.script import ScriptBackend

SWITCHED = (
    "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}"
)


@pytest.mark.parametrize(
    ("text", "mark", "part"),
    [
        ("<think>5</think>\n6", "", "6"),
        ("5</think>6", "", "6"),
        ("<think>5", "", None),
        ("5", "<think>", None),
        ("5</think>6", "<think>", "6"),
        ("No thoughts: 5", "", "No thoughts: 5"),
        ("mark = '</think>'", "", "mark = '</think>'"),
        ("5\n<think>No", "", None),
        ("<|channel>thought 5<channel|>6", "", "6"),
        ("analysisHm.assistantfinalAir", "", "Air"),
        ("analysisHm.", HARMONY.template_mark, None),
        ("analysis of air", "", "analysis of air"),
    ],
)
def test_the_answer_stands_behind_the_thoughts(text, mark, part):
    assert answer_part(text, mark) == part


def test_prompts_may_open_the_thoughts():
    assert prompt_mark("{{ '<think>' }}", "<assistant>\n<think>\n") == "<think>"
    assert prompt_mark("{{ '<think>' }}", "<think>\n\n</think>\n") == ""
    assert prompt_mark("{{ '<|channel|>analysis' }}", "assistant") == HARMONY.template_mark
    assert prompt_mark("", "Hello") == ""


PROGRAM = Item("p", "", "", {"entry": "f", "before": "def f():\n", "tests": []})


@pytest.mark.parametrize(
    ("read", "thoughts", "answer", "right"),
    [
        (answers.number, "So \\boxed{5}.", "It is 6.", "6"),
        (answers.read_answer, "So \\boxed{x+1}.", "The answer is $x+2$.", "x + 2"),
        (find_task("arc_easy").read, "\\boxed{A}?", "It is B.", "B"),
        (
            lambda text: find_task("humaneval").read_for(PROGRAM, text),
            "def f():\n    return 1",
            "def f(): return 2",
            None,
        ),
        (answers.READERS["text"], "Hm.", "Air.", "Air."),
    ],
    ids=["number", "expression", "letter", "program", "text"],
)
def test_no_reader_takes_thoughts_for_the_answer(read, thoughts, answer, right):
    problem = Problem("p", "Why?", read)

    def answered(text, mark=""):
        return problem.answer(State("Why?", ("p",), (Piece(text),), "end", thinking=mark))

    assert answered(f"<think>{thoughts}</think>\n{answer}") == answered(answer)
    assert right is None or answered(answer) == right
    assert answered(f"<think>{thoughts}") is None
    assert answered(thoughts, "<think>") is None
    assert answered(f"{thoughts}</think>{answer}", "<think>") == answered(answer)


def test_a_task_reads_nothing_in_thoughts_that_were_cut():
    chosen = choose("gsm8k")
    assert chosen.read(Item("p", "", "5"), answer_part("<think>2 + 3 = 5"), cut=True) is None


class Thinker(ScriptBackend):
    """A scripted model whose thoughts have a cap."""

    thinking = ThinkingMode(True, 12)
    thought_cap = ThoughtCap(12, "</think>")


def solved(reply, name="chain_of_thought", max_tokens=60, backend=Thinker, **parameters):
    chosen = name if not isinstance(name, str) else find(name)
    driver = Driver({"main": backend(reply)}, sampling={"max_tokens": max_tokens})
    ((_, result),) = driver.solve([MethodJob(chosen, Problem("p", (("user", "Why?"),), answers.number), parameters)])
    return result


def test_thoughts_are_closed_at_the_cap_and_the_answer_follows():
    result = solved(
        lambda _, written, number: "It is 8." if "</think>" in written else "<think>5 or 6 or 7 or 8</think>9"
    )
    assert result.answer.chosen.text == "<think>5 or \n</think>\n\nIt is 8."
    assert (result.answer.answer, result.trace["thinking"]) == ("8", "12")


def test_thoughts_that_end_before_the_cap_go_on_to_the_answer():
    result = solved(
        lambda _, written, number: "</think>It is 7." if written else "<think>5</think>It is 7.", max_tokens=40
    )
    assert result.answer.answer == "7"
    assert result.cost.tokens <= 40


def test_a_model_that_does_not_think_is_not_made_to():
    long = "No thoughts are needed for 6."
    result = solved(lambda _, written, number: long[len(written) :])
    assert result.answer.chosen.text == long


def test_the_cap_counts_in_the_tokens_of_the_whole_text():
    result = solved(lambda _, written, number: "1234567890" * 9, max_tokens=20)
    assert result.answer.chosen.length == 20


@method("a test")
def stepwise(problem):
    """Write in steps of four tokens."""
    state = problem.start
    for _ in range(5):
        state = yield Extend(state, max_tokens=4)
    from intact.reason.aggregate.votes import take

    return take(problem, state)


def test_the_cap_holds_over_many_extensions():
    result = solved(lambda _, written, number: "<think>0123456789abcdefghij"[len(written) :] or "5" * 9, stepwise)
    assert "<think>01234\n</think>\n\n" in result.answer.chosen.text


def test_races_have_no_cap_on_thoughts():
    result = solved(lambda *_: "6", "first_finish", n=2)
    assert result.why == "failed"
    assert "a thinking budget cannot be combined with a race" in result.error


@pytest.mark.parametrize("text", ["", "yes", "0", "-1", "012", "1.5", str(1 << 25)])
def test_what_is_no_way_to_think_is_refused(text):
    with pytest.raises(ParameterError, match="thinking must be on, off, or a number of tokens"):
        ThinkingMode.parse(text)


@pytest.mark.parametrize("text", ["on", "off", "512"])
def test_ways_to_think_are_written_as_they_are_read(text):
    assert str(ThinkingMode.parse(text)) == text


class Tokens:
    """What `ThinkingMode` asks of a tokenizer."""

    def __init__(self, source):
        self.chat_template = ChatTemplate(source) if source else None
        self.template_source = source


@pytest.mark.parametrize(
    ("source", "text", "variables"),
    [
        (SWITCHED, "on", {"enable_thinking": True}),
        (SWITCHED, "off", {"enable_thinking": False}),
        (SWITCHED, "64", {"enable_thinking": True}),
        ("{% if thinking %}Think.{% endif %}", "on", {"thinking": True}),
        ("{{ '<seed:think>' }}{{ thinking_budget }}", "64", {"thinking_budget": 64}),
        ("{{ '<think>' }}", "on", {}),
    ],
)
def test_the_chat_template_is_told(source, text, variables):
    assert ThinkingMode.parse(text).variables(Tokens(source)) == variables


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("", "on", "this model has none"),
        ("{{ messages }}", "on", "has no thinking"),
        ("{{ messages }}", "off", "has no thinking"),
        ("{{ '<think>' }}", "off", "has no switch for it, such as enable_thinking"),
        ("{{ '<|channel|>analysis' }}", "64", "shows the tag that ends thoughts"),
        ("{% if thinking %}Think.{% endif %}", "64", "shows the tag that ends thoughts"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_the_work(source, text, message):
    with pytest.raises(ParameterError, match=message):
        ThinkingMode.parse(text).variables(Tokens(source))
