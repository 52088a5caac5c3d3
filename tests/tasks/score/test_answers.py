"""The answer a text gives, and when two are the same."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact._base.process import WorkerProcess
from intact.tasks.score import answers, symbolic
from intact.tasks.score.judging import FILES, LIMIT_REACHED, MEMORY, SECONDS, ask, noting
from intact.tasks.score.latex import undressed
from intact.tasks.score.symbolic import explodes

needs_algebra = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('math_verify')", reason="needs math-verify"
)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{\frac{1}{2}} ends", r"\frac{1}{2}"),
        (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}"),
        (r"\boxed{\{}", r"\{"),
        (r"\fbox{x} and \boxed {y}", "y"),
        (r"\boxed 7$.", "7"),
        (r"\boxed{3} and then \boxed{4", None),
        (r"\boxed{3} and then \boxed{\frac{4}{5}", None),
        (r"\boxed{3} and then \boxed", None),
        ("no box", None),
        (r"\boxedness{3}", None),
    ],
)
def test_the_last_box_counts_and_only_if_it_was_closed(text, inside):
    assert answers.boxed(text) == inside


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("5 - 8 = -3", "-3"),
        ("The answer is $1,234.50.", "1234.5"),
        (r"\boxed{\frac{3}{4}} and 9", "0.75"),
        (r"\boxed{-\frac{1}{3}}", "-1/3"),
        (r"\boxed{x = 5}", "5"),
        (r"\boxed{\text{5 dollars}}", "5"),
        (r"\boxed{1{,}000}", "1000"),
        (r"\boxed{3} then \boxed{4", None),
        ("#### -1,000", "-1000"),
        ("#### 7\n#### 8 eggs", "8"),
        ("#### none, though 5", "5"),
        ("#### none", None),
        ("18 #### $1,234.50", "1234.5"),
        ("#### Step 2: Total\nThe total is \\boxed{72}", "72"),
        ("#### 3\n\\[ \\boxed{72} \\]", "72"),
        ("#### Step 1: Add 5\nThe answer is 7.\n#### Step 2: Check\n", "7"),
        (r"\boxed{3 \frac{1}{2}}", "3.5"),
        (r"\boxed{3\ \, \frac{1}{2}}", "3.5"),
        (r"\boxed{-3\frac{1}{2}}", "-3.5"),
        (r"\boxed{2 \times 10^3}", "2000"),
        (r"\boxed{2^{10}}", "1024"),
        (r"\boxed{x = 2 \cdot (3 + 4)}", "14"),
        (r"\boxed{10^{-1}}", "0.1"),
        (r"\boxed{50\%}", "50"),
        (r"\boxed{50\%\text{ more}}", "50"),
        (r"\boxed{1\,000}", "1000"),
        (r"\boxed{12,\!345\,678}", "12345678"),
        ("The answer is 3 + 4 = 7 apples. Check: 9", "7"),
        ("**Answer:** 42", "42"),
        ("The answer is\n12", "12"),
        ("18.00", "18"),
        ("0", "0"),
        ("none at all", None),
        ("", None),
    ],
)
def test_numbers_are_answered_in_boxes_behind_words_or_at_the_end(text, answer):
    assert answers.number(text) == answer


@pytest.mark.parametrize("calculation", ["-" * 5000 + "4", "4" + "^4" * 5000, "(" * 5000 + "4", "9^64^64"])
def test_calculations_beyond_reason_are_left_alone(calculation):
    assert answers.number(f"\\boxed{{{calculation}}}") is None


def test_every_solution_of_gsm8k_answers_what_it_should(data_dir):
    for line in (data_dir / "gsm8k" / "test.jsonl").read_text().splitlines():
        solution = json.loads(line)["answer"]
        told = solution.rpartition("####")[2].strip().replace(",", "")
        assert answers.number(solution) == told


@pytest.mark.parametrize(
    ("latex", "canonical"),
    [
        (r"\dfrac{1}{2}", "0.5"),
        ("0.50", "0.5"),
        (r"-\frac{2}{3}", "-2/3"),
        (r"1{,}000\text{ cm}", "1000"),
        (r"1\,000", "1000"),
        (r"12,\! 345", "12345"),
        (r"3 \frac{1}{2}", "3.5"),
        (r"30^\circ", "30"),
        (r"\$5", "5"),
        (r"\text{(C)}", "C"),
        ("(C)", "C"),
        (r"\text{Evelyn}", "evelyn"),
        ("2516_{8}", "2516_8"),
        ("1 0110_2", "10110_2"),
        ("", ""),
    ],
)
def test_one_canonical_form_for_what_is_written_in_many_ways(latex, canonical):
    assert answers.simplest(latex) == canonical


@needs_algebra
@pytest.mark.parametrize(
    "forms",
    [
        ["x+1", "1 + x", r"\left(1+x\right)", "y = x + 1"],
        [r"\frac{\sqrt{8}}{2}", r"\sqrt 2", r"\sqrt{2}"],
        ["(x+1)^2", "x^2+2x+1"],
        [r"\{1,2\}", r"\left\{2, 1\right\}"],
        [r"\left( 3, \frac{\pi}{2} \right)", r"(3,\dfrac{\pi}{2})", r"(3, \pi/2)"],
        ["2^{-1}", "0.5", r"\frac12"],
    ],
)
def test_algebra_gives_one_form_to_what_is_equal(forms):
    assert len({answers.simplest(form) for form in forms}) == 1
    assert answers.same(forms[0], forms[-1])


@needs_algebra
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"),
        ("x", "y"),
        ("-3", "3"),
        ("(1,2)", "(2,1)"),
        (r"\frac{1}{3}", "0.33"),
        ("[0,1)", "[0,1]"),
        ("2516_8", "2516_9"),
        ("10_2", "2"),
        (r"(3,\frac{\pi}{2})", r"3,\frac{\pi}{2}"),
        ("(1,2)", r"\{1,2\}"),
    ],
)
def test_what_differs_is_not_the_same(one, other):
    assert not answers.same(one, other)
    assert answers.simplest(one) != answers.simplest(other)


@needs_algebra
@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("**42**.", "42"),
        ("**42.** Because 7 = 8.", "42"),
        ("`42`", "42"),
        ("42 dollars per day.", "42"),
        ("$42 per day.", "42"),
        ("42 (forty-two).", "42"),
        ("a total of 42 apples.", "42"),
        ("17 + 25 = 42.", "42"),
        (r"$\frac{1}{2} + \frac{1}{2} = 1$.", "1"),
        ("3 + 4 = 7 apples.", "7"),
        ("3/4 cup.", "0.75"),
        (r"\frac{3}{4} cup.", "0.75"),
        (r"5\text{ dollars per day}.", "5"),
        (r"approximately $\sqrt{2}$ meters.", r"\sqrt{2}"),
        ("$x + 1$ since it is.", "x + 1"),
        ("xy + 1.", "x y + 1"),
        ("y = 2x + 1.", "2 x + 1"),
        ("3 <= x.", r"3 \leq x"),
        ("2*(x + 1).", "2 x + 2"),
        ("1, 2, and 3.", r"\{1, 2, 3\}"),
        ("B) because it is.", "B"),
        ("(B) because 3 > 2.", "B"),
        ("no, because 3 is odd.", "no"),
        ("**Evelyn**.", "evelyn"),
    ],
)
def test_behind_a_cue_prose_is_no_algebra(said, answer):
    assert answers.read_answer(f"So the answer is {said}") == answer


def test_the_base_of_a_number_may_be_left_out():
    assert answers.same("2516_8", "2516")
    assert answers.same("0110", "110_{2}")


@needs_algebra
def test_every_solution_of_math500_answers_what_it_should(data_dir):
    for line in (data_dir / "math500" / "test.jsonl").read_text().splitlines()[::4]:
        item = json.loads(line)
        read = answers.expression(item["solution"])
        assert read is not None
        assert answers.same(item["answer"], read), item["answer"]
        assert answers.simplest(read) == read


@needs_algebra
def test_verdicts_agree_with_a_published_log(data_dir):
    lines = (data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl").read_text().splitlines()
    differ = []
    for line in lines:
        row = json.loads(line)
        for text, right in zip(row["code"], row["score"], strict=True):
            read = answers.expression(text)
            if (read is not None and answers.same(row["gt"], read)) != right:
                differ.append((row["gt"], read))
    assert differ == [("10{,}000", "10000")]  # which the log calls wrong


@needs_algebra
@pytest.mark.parametrize(
    "latex", [r"\frac{" * 300, "(" * 3000, r"\sqrt{" * 200, "\x00", "\ud800", "{", "}", r"\int", "x" * 5000]
)
def test_hostile_expressions_keep_their_own_text(latex):
    assert isinstance(answers.simplest(latex), str)
    assert not answers.same("5", latex)


def child(seconds=SECONDS, memory=MEMORY):
    return WorkerProcess(symbolic.PROGRAM, "math-verify", seconds=seconds, memory=memory, limits=FILES)


@needs_algebra
def test_a_question_that_takes_forever_ends_and_the_next_is_answered():
    algebra = child(seconds=1)
    assert ask(algebra, "canonical", "9^{9^{9^{9}}}") is LIMIT_REACHED
    assert ask(algebra, "canonical", "1+x") == "x + 1"
    assert algebra.started == 2
    algebra.end()


@needs_algebra
def test_what_is_no_expression_means_nothing():
    algebra = child()
    assert [ask(algebra, "equal", text, text) for text in ("", "%%", "x")] == [False, False, True]
    assert [ask(algebra, "canonical", text) for text in ("", "%%", "x")] == [None, None, "x"]
    algebra.end()


@needs_algebra
def test_a_question_that_takes_all_memory_ends_and_the_next_is_answered():
    algebra = child(memory=600 << 20)
    assert (
        ask(algebra, "canonical", r"\begin{pmatrix}" + r"9^{99999999} & 1 \\" * 40 + r"\end{pmatrix}") is LIMIT_REACHED
    )
    assert ask(algebra, "equal", "1+x", "x+1") is True
    algebra.end()


@needs_algebra
@pytest.mark.parametrize(
    "tower",
    ["9^{9^{9}}", "9^{9^{9^{9}}}", "{9}^{9^9}", "10^{99999999999}", "100000!", r"x + 9^{ 9^{ 9 } }"],
)
def test_numbers_that_nobody_can_write_out_are_decided_by_their_text(tower):
    """Time decides nothing: the answer keeps its own text, and nothing is given up."""
    with noting() as given_up:
        assert answers.simplest(tower) == "".join(undressed(tower).split())
    assert not given_up


@pytest.mark.parametrize(
    "power", ["2^{100}", "10^{12}", "x^{2^{3}}", "2^{2^{2^2}}", "20!", "3^{x^{2}}", "2^{4000}", "2^10^10^10"]
)
def test_numbers_that_can_be_written_out_are_asked_about(power):
    assert not explodes(power)


def test_what_was_given_up_is_known_as_such_each_time(monkeypatch):
    algebra, forever = child(seconds=1), "(x+y+z+1)^{900}"
    monkeypatch.setattr(symbolic, "_algebra", algebra)
    symbolic._once.cache_clear()
    for _ in range(2):
        with noting() as given_up:
            assert answers.simplest(forever) == forever
            assert answers.simplest("1+x") == "x + 1"
        assert given_up == [forever]
    assert algebra.started == 2
    with noting() as given_up:
        assert not answers.same(forever, "x + 1")
        assert not answers.same("x", "x + 1")
        with noting() as others:
            assert answers.simplest("no number") == "no number"
        with ThreadPoolExecutor(1) as pool:
            pool.submit(answers.simplest, forever).result()
    assert given_up[0] == given_up[1] == forever
    assert {text.replace(" ", "") for text in given_up} == {forever, "x+1"}
    assert others == []
    algebra.end()
    symbolic._once.cache_clear()


@needs_algebra
def test_threads_may_ask_side_by_side():
    algebra = child()
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: ask(algebra, "canonical", f"{n}+x"), range(2, 22)))
    assert replies == [f"x + {n}" for n in range(2, 22)]
    assert algebra.started == 1
    algebra.end()


def test_what_needs_algebra_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(ParameterError, match=r"pip install math-verify$"):
        ask(child(), "canonical", "x+y")
    assert answers.simplest(r"\frac{1}{2}") == "0.5"


@given(st.text(alphabet="\\boxed{}#$0123456789.,-/ answer is=\n"))
def test_no_text_is_too_odd(text):
    answers.number(text)
    answers.boxed(text)


@needs_algebra
@pytest.mark.parametrize("said", ["", "*", "$", "$$", "=", "= =", "(", "and", "**=**", "because", "\ud800 x", "( or"])
def test_no_sentence_is_too_odd(said):
    answers.read_answer(f"the answer is {said}")
