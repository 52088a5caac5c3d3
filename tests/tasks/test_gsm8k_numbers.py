"""GSM8K with other numbers: programs of annotations, what is left out, and answers recomputed by hand."""

import json
import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from intact._base.errors import ParameterError
from intact.evaluate.manifest import manifest
from intact.evaluate.plan import plan
from intact.reason import find
from intact.solving.run import solve_items
from intact.tasks import find_task
from intact.tasks.annotated import AnnotatedProgram, program
from intact.tasks.choose import choose
from intact.tasks.digits import INSTRUCTIONS, check_grouping, digit_groups, write_digits
from intact.tasks.gsm8k_numbers import GSM8KNumbers
from intact.text import Tokenizer
from text.vocabularies import byte_level

QUESTION = "Ann has 12 apples and buys 30 more. She gives a third of them to Ben. How many has Ben in 2 bags of 7?"
SOLUTION = "She has 12+30=<<12+30=42>>42. Ben gets 42/3=<<42/3=14>>14.\n#### 14"


def test_a_program_gives_the_answer_for_other_numbers():
    found = program(QUESTION, SOLUTION, "14")
    assert isinstance(found, AnnotatedProgram)
    assert [(one.value, QUESTION[one.start : one.end]) for one in found.numbers] == [(12, "12"), (30, "30")]
    assert found.results([12, 30]) == [42, 14]
    assert found.results([1, 2]) == [3, 1]
    assert found.results([1, 3]) == [4, Fraction(4, 3)]
    assert found.divided == frozenset()


@pytest.mark.parametrize(
    ("question", "solution", "answer", "because"),
    [
        (QUESTION, "#### 14", "14", "no annotations"),
        (QUESTION, "<<12+30=43>>", "43", "does not come to what it states"),
        (QUESTION, "<<12+30=42>>", "41", "the last annotation is not the answer"),
        (QUESTION, "<<12+31=43>>", "43", "neither the question's, nor a result, nor named"),
        (QUESTION, "<<30-18=12>>", "12", "neither the question's, nor a result, nor named"),
        ("He has 5 hats, then 6.", "<<6-1=5>> <<5+6=11>>", "11", "neither the question's"),
        ("He has 5 hats, then once 6.", "<<6-1=5>> <<5+6=11>>", "11", "two places"),
        ("He had 3 hats and three caps.", "<<3+3=6>>", "6", "two places"),
        ("He had 4 hats and 4 caps.", "<<4+4=8>>", "8", "no number of the question can be another"),
        ("He had 4 hats twice.", "<<4**2=16>>", "16", "no arithmetic"),
        ("He had 4 hats.", "<<4+=4>>", "4", "no arithmetic"),
        ("He had 4 hats, zero caps.", "<<4/0=4>>", "4", "no arithmetic"),
        ("A share of 40% rose.", "<<40*1=40>>", "40", "no number of the question can be another"),
    ],
)
def test_what_is_no_program_says_why(question, solution, answer, because):
    found = program(question, solution, answer)
    assert isinstance(found, str)
    assert because in found


def test_percentages_fractions_times_and_decimals_stay_as_they_are():
    question = "Of 50 hats 20% are red, 3/4 of 16 caps at 10:30 cost $1.5 each, in 1st place."
    found = program(question, "<<50*20/100=10>> <<16*3/4=12>> <<10+12=22>>", "22")
    assert found == "a number can have come from two places"  # 10 of 10:30, or the result
    found = program(question.replace("10:30", "11:30"), "<<50*20/100=10>> <<16*3/4=12>> <<10+12=22>>", "22")
    assert [one.value for one in found.numbers] == [50, 16]


@pytest.fixture(scope="module")
def levels(data_dir):
    return {level: GSM8KNumbers(level=level).load(folder=data_dir / "gsm8k" / "test.jsonl") for level in (0, 1, 4)}


def test_all_levels_have_the_same_problems_and_level_0_the_data(levels, data_dir):
    assert len({tuple(item.id for item in items) for items in levels.values()}) == 1
    own = {item.id.rpartition("/")[2]: item for item in find_task("gsm8k").load(folder=data_dir)}
    for item in levels[0]:
        same = own[item.id.rpartition("/")[2]]
        assert (item.question, item.answer) == (same.question, same.answer)


def test_the_page_says_how_many_numbers_stay_small_as_something_is_divided_by_them(levels, data_dir):
    rows = [json.loads(line) for line in (data_dir / "gsm8k" / "test.jsonl").open()]
    own = [rows[int(item.id.rpartition("/")[2])] for item in levels[0]]
    found = [program(row["question"], row["answer"], item.answer) for row, item in zip(own, levels[0], strict=True)]
    numbers, divisors = sum(len(one.numbers) for one in found), [len(one.divided) for one in found if one.divided]
    counts = f"{sum(divisors)} of the {numbers} that change, in {len(divisors)} of the {len(found)} problems"
    page = Path(__file__).parents[2] / "docs" / "spec" / "tasks.md"
    assert counts in " ".join(page.read_text("utf-8").split())


def test_problems_left_out_are_counted(data_dir):
    task = GSM8KNumbers()
    kept = task.load(folder=data_dir)
    rows = sum(1 for _ in (data_dir / "gsm8k" / "test.jsonl").open())
    assert len(kept) + sum(task.left_out.values()) == rows == 660
    assert len(kept) > 200


def rewritten(expression, known):
    """An annotation as Python on fractions, with known numbers in place of those of the data."""
    return re.sub(
        r"\d+(?:\.\d+)?|\.\d+", lambda match: f"Fraction('{known.get(Fraction(match[0]), match[0])}')", expression
    )


def test_answers_of_other_numbers_are_those_of_the_solution_rewritten_and_run(levels, data_dir):
    """The annotations, rewritten as Python with each changed number in its place, come to the answer."""
    rows = [json.loads(line) for line in (data_dir / "gsm8k" / "test.jsonl").open()]
    number = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
    assert len(levels[0]) > 200
    for first, item in zip(levels[0], levels[4], strict=True):
        before, after = number.findall(first.question), number.findall(item.question)
        assert len(before) == len(after)
        known = {Fraction(a.replace(",", "")): b for a, b in zip(before, after, strict=True) if a != b}
        assert all(int(new) >= 2 for new in known.values())
        row = rows[int(item.id.rpartition("/")[2])]
        for left, right in re.findall(r"<<([^<>]*)=([^<>]*)>>", row["answer"].replace(",", "")):
            result = eval(rewritten(left, known), {"Fraction": Fraction})
            known[Fraction(right)] = str(result)
            assert result > 0
        assert Fraction(item.answer) == result


def test_numbers_grow_with_the_level_and_differ_by_seed(levels, data_dir):
    mean = {level: sum(len(item.answer) for item in items) / len(items) for level, items in levels.items()}
    assert mean[0] < mean[4]
    assert mean[4] > 5
    other = GSM8KNumbers(level=4, seed=1).load(folder=data_dir)
    same = {item.question for item in other} & {item.question for item in levels[4]}
    assert len(same) < 10  # of which only a divisor from 2 to 9 changes


@pytest.mark.parametrize("level", [-1, 7])
def test_levels_are_from_0_to_6(level):
    with pytest.raises(ParameterError, match="level must be from 0 to 6"):
        GSM8KNumbers(level=level)


@pytest.mark.parametrize(
    ("text", "grouped", "plain"),
    [
        ("1234 and 12345.678", "1,234 and 12,345.678", "1234 and 12345.678"),
        ("1,234,567 is $1234567.", "1,234,567 is $1,234,567.", "1234567 is $1234567."),
        ("in 1999, 2099 or 2100", "in 1999, 2099 or 2,100", "in 1999, 2099 or 2100"),
        ("0.12345 and 12,34 and x12345", "0.12345 and 12,34 and x12345", "0.12345 and 12,34 and x12345"),
        ("12345, 678, and 12345.", "12,345, 678, and 12,345.", "12345, 678, and 12345."),
        ("12,345, so", "12,345, so", "12345, so"),
    ],
)
def test_digits_are_grouped_from_the_right_or_not_at_all(text, grouped, plain):
    assert write_digits(text, "grouped") == grouped
    assert write_digits(text, "plain") == plain
    assert write_digits(text, "given") == text


def test_digits_are_an_option_of_prompts_and_not_of_problems(data_dir, monkeypatch):
    monkeypatch.setenv("INTACT_DATA", str(data_dir))
    plain, grouped = choose("gsm8k_numbers:level=4"), choose("gsm8k_numbers:level=4,digits=grouped")
    assert grouped.label == "gsm8k_numbers:level=4,digits=grouped"
    assert plain.load(3) == grouped.load(3)
    item = plain.load(1)[0]
    asked = grouped.problem(item, "chat", 0)
    assert write_digits(item.question, "grouped") in asked.prompt[-1][1] != plain.problem(item, "chat", 0).prompt[-1][1]


@pytest.mark.parametrize(("form", "number", "other"), [("grouped", "13,455", "13455"), ("plain", "13455", "13,455")])
def test_examples_and_answers_have_the_digits_of_the_question(data_dir, monkeypatch, form, number, other):
    monkeypatch.setenv("INTACT_DATA", str(data_dir))
    chosen = choose(f"gsm8k:digits={form},shots=5")
    item = chosen.load(1)[0]
    base, chat = (chosen.problem(item, style, 0).prompt for style in ("base", "chat"))
    assert f"The answer is {number}." in base
    assert other not in base
    (_, first), (_, answer), *_, (_, last) = chat
    assert f"The answer is {number}." in answer
    assert INSTRUCTIONS[form] in first
    assert INSTRUCTIONS[form] in last
    assert INSTRUCTIONS[form] not in chosen.task.instruction  # the task itself is as it was
    assert len(chosen.task.shots) == 4


def tokenizer(kind, groups=True):
    """A byte-level vocabulary, with tokens for all numbers of up to three digits or for digits and 12 alone."""
    metadata = byte_level(kind)
    if groups:
        two = [f"{number:02}" for number in range(100) if number != 12]  # which it has
        three = [f"{number:03}" for number in range(1000)]
        metadata["tokenizer.ggml.tokens"] = [*metadata["tokenizer.ggml.tokens"], *two, *three]
        merges = [f"{text[:1]} {text[1:]}" for text in (*two, *three)] + [f"{text[:2]} {text[2]}" for text in three]
        metadata["tokenizer.ggml.merges"] = [*metadata["tokenizer.ggml.merges"], *merges]
        metadata["tokenizer.ggml.token_type"] = [*metadata["tokenizer.ggml.token_type"], *[1] * 1099]
    return Tokenizer.from_gguf(metadata)


def test_commas_group_digits_from_the_right_where_tokens_have_several():
    found = tokenizer("llama-bpe")
    assert digit_groups(found, "1234567") == ("123", "456", "7")
    assert digit_groups(found, "1,234,567") == ("1", "234", "567")
    check_grouping(found)


@pytest.mark.parametrize(
    ("kind", "groups", "because"),
    [
        ("qwen2", True, r"reads each digit separately \(1 2 3 4 5 6 7\)"),
        ("llama-bpe", False, r"does not make this model's tokenizer group .* it reads 1,234,567 as 1 2 3 4 5 6 7"),
        ("afmoe", True, r"groups digits from the right by default \(1 234 567\)"),
    ],
)
def test_grouped_digits_are_refused_where_commas_group_nothing(kind, groups, because):
    with pytest.raises(ParameterError, match=because):
        choose("gsm8k:digits=grouped").check_tokenizer(tokenizer(kind, groups))
    assert choose("gsm8k:digits=plain").check_tokenizer(tokenizer(kind, groups)) == ""


def test_an_unknown_tokenizer_is_said():
    assert "the endpoint's tokenizer is unknown" in choose("gsm8k:digits=grouped").check_tokenizer(None)


def test_grouped_digits_are_refused_before_the_work(data_dir, monkeypatch):
    """Manifests, which every run begins with, and graded problems ask the first model's tokenizer."""
    monkeypatch.setenv("INTACT_DATA", str(data_dir))
    chosen = choose("gsm8k:digits=grouped")
    backends = {"main": SimpleNamespace(tokenizer=tokenizer("qwen2"), caveats=())}
    with pytest.raises(ParameterError, match="gsm8k:digits=grouped: digits=grouped has no effect"):
        manifest(plan([chosen], "self_consistency", {"n": 2}, limit=1), backends)
    with pytest.raises(ParameterError, match="digits=grouped has no effect"):
        next(solve_items(backends, find("self_consistency"), chosen, chosen.load(1), {"n": 2}))


def test_digits_are_refused_where_answers_are_no_numbers():
    with pytest.raises(ParameterError, match="digits=grouped needs a task whose answers are numbers"):
        choose("arc_easy:digits=grouped")
    with pytest.raises(ParameterError, match="digits must be given, grouped or plain, got 'left'"):
        choose("gsm8k:digits=left")
