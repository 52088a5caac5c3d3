"""Tasks that are declared in a file, made from a seed, or judged by likelihoods; and how they are named."""

import json
import os
import pickle
import subprocess
import sys

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.tasks import reasoning_gym
from intact.tasks.choose import choose
from intact.tasks.gsm_ranges import TEMPLATES, put_right
from intact.tasks.procbench import OPERATIONS, ProcBench
from intact.tasks.reasoning_gym import ReasoningGym
from intact.tasks.task import Item, find_task

DECLARED = """
name = "sums"
line = "sums of two"
licence = "CC0"
grader = "number"

[items]
file = "sums.jsonl"
id = "{name}"
question = "What is {a} + {b}?"
answer = "{solution.text}"
after = "####"

[prompt]
instruction = "Only the number."
shots = [["What is 1 + 1?", "2"]]
stops = ["\\n"]
"""
ROWS = [{"name": f"n{i}", "a": i, "b": 2, "solution": {"text": f"so #### 1,00{i + 2}"}} for i in range(3)]


@pytest.fixture
def declared(tmp_path):
    def write(text=DECLARED, rows=ROWS):
        (tmp_path / "sums.toml").write_text(text)
        (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / "sums.toml")

    return write


def test_a_declared_task_is_asked_and_judged_as_it_says(declared):
    chosen = choose(f"{declared()}:shots=1")
    items = chosen.load()
    assert [item.id for item in items] == ["sums/test/n0", "sums/test/n1", "sums/test/n2"]
    assert (items[1].question, items[1].answer) == ("What is 1 + 2?", "1003")
    assert chosen.task.problem(items[1], "chat", 0, 1).prompt == (
        ("user", "What is 1 + 1?\n\nOnly the number."),
        ("assistant", "2"),
        ("user", "What is 1 + 2?\n\nOnly the number."),
    )
    assert chosen.task.problem(items[1], "base").prompt.startswith("Question: What is 1 + 1?\nAnswer: 2\n\n")
    assert chosen.task.correct(items[1], chosen.task.read("The answer is 1,003."))
    assert chosen.task.stops == ("\n",)
    assert chosen.label == "sums.toml:shots=1"


@pytest.mark.parametrize(
    ("grader", "row", "text"),
    [
        ("choice", {"q": "Which?", "a": "B", "c": ["x", "y"]}, "The answer is B."),
        ("choice", {"q": "Which?", "a": 1, "c": ["x", "y"]}, "(B)"),
        ("choice", {"q": "Which?", "a": "(b)", "c": ["x", "y"]}, "I take option (b)."),
        ("choice", {"q": "Which?", "a": "Paris", "c": ["Rome", "Paris"]}, "It's B, not A"),
        ("choice", {"q": "Which?", "a": "J", "c": list("abcdefghik")}, "I choose J over A."),
        ("choice", {"q": "Which?", "a": 9, "c": list("9876543210")}, "The answer is J."),
        ("choice", {"q": "Which?", "a": ["A", "x"], "c": ["x", "y"]}, "(A)"),
        ("exact", {"q": "Capital of France?", "a": "Paris"}, "The answer is paris."),
        ("exact", {"q": "Capital of France?", "a": "Paris"}, "Answer: “Paris”.\nIt lies on the Seine."),
        ("exact", {"q": "Capital of France?", "a": ["Paris", "Lutetia"]}, "**Answer:** Lutetia"),
        ("exact", {"q": "Where?", "a": "caf\u00e9"}, "The answer is cafe\u0301"),
        ("exact", {"q": "A haiku?", "a": "One\ntwo\nthree"}, "Answer:\nOne\n two\n\nThree.\nDone."),
        ("number", {"q": "One or two?", "a": [1, 2]}, "The answer is 2."),
        ("expression", {"q": "Half?", "a": "\\frac{1}{2}"}, "\\boxed{0.5}"),
    ],
)
def test_every_grader_judges(declared, grader, row, text):
    choices = 'choices = "c"\n' if "c" in row else ""
    path = declared(
        f'grader = "{grader}"\n[items]\nfile = "sums.jsonl"\nquestion = "{{q}}"\nanswer = "{{a}}"\n{choices}', [row]
    )
    chosen = choose(path)
    (item,) = chosen.load()
    assert chosen.task.correct(item, chosen.task.read_for(item, text))
    assert not chosen.task.correct(item, chosen.task.read_for(item, "The answer is C."))


@pytest.mark.parametrize(("grader", "answer"), [("exact", "red, green"), ("expression", "(1, 2)"), ("number", "12")])
def test_only_numbers_lose_their_commas_behind_a_mark(declared, grader, answer):
    text = DECLARED.replace('"number"', f'"{grader}"')
    (item,) = choose(declared(text, [{**ROWS[0], "solution": {"text": f"so #### {answer}"}}])).load()
    assert item.answer == answer


ASKING = 'grader = "{}"\n[items]\nfile = "sums.jsonl"\nquestion = "{{q}}"\nanswer = "{{a}}"\n'


@pytest.mark.parametrize(
    ("grader", "row", "message"),
    [
        ("choice", {"q": "Which?", "a": -1, "c": ["x", "y", "z"]}, "item 0 .*'-1' is not one of 3 choices"),
        (
            "choice",
            {"q": "Which?", "a": "D", "c": ["x", "y", "z"]},
            r"item 0 .*'D' is not one of 3 choices; it must be its letter, A to C, its place, 0 to 2, or its text$",
        ),
        ("choice", {"q": "Which?", "a": "AB", "c": ["x", "y", "z"]}, "item 0 .*'AB' is not one of 3 choices"),
        ("choice", {"q": "Which?", "a": "", "c": ["x", "y", "z"]}, "item 0 .*'' is not one of 3 choices"),
        ("likelihood", {"q": "Which?", "a": 3, "c": ["x", "y", "z"]}, "item 0 .*'3' is not one of 3 choices"),
        (
            "choice",
            {"q": "Which?", "a": "A", "c": ["x"] + ["y"] * 26},
            "item 0 .*27 choices, but only 26 letters, A to Z",
        ),
        ("choice", {"q": "Which?", "a": "A", "c": "xyz"}, "item 0 .*c must contain a list of choices.*'xyz'"),
        ("choice", {"q": "Which?", "a": "A", "c": ["x", None]}, "item 0 .*c must contain a list of choices"),
        ("choice", {"q": "Which?", "a": "A", "c": None}, "item 0 .*the field c is empty"),
        ("exact", {"q": "Which?", "a": None}, "item 0 .*the field a is empty"),
        ("exact", {"q": "Which?", "a": "..."}, r"item 0 \(0\): the grader cannot read its answer '\.\.\.'"),
    ],
)
def test_items_that_could_only_be_judged_wrongly_are_refused(declared, grader, row, message):
    choices = 'choices = "c"\n' if "c" in row else ""
    with pytest.raises(FormatError, match=message):
        choose(declared(ASKING.format(grader) + choices, [row])).load()


def test_likelihoods_are_compared_of_more_choices_than_there_are_letters(declared):
    row = {"q": "Which?", "a": 5, "c": list("uvwxyz")}
    (item,) = choose(declared(ASKING.format("likelihood") + 'choices = "c"\n', [row])).load()
    assert (item.answer, len(item.data["choices"])) == ("5", 6)


def test_texts_in_csv_may_have_several_lines_and_rows_must_be_whole(declared, tmp_path):
    path = declared(ASKING.format("exact").replace("jsonl", "csv"), [])
    (tmp_path / "sums.csv").write_text('\ufeffq,a\n"One,\ntwo\u2028or?",Two\nLast?,one\n')
    items = choose(path).load()
    assert [(item.question, item.answer) for item in items] == [("One,\ntwo\u2028or?", "Two"), ("Last?", "one")]
    (tmp_path / "sums.csv").write_text("q,a\nFirst?,one\nLast?\n")
    with pytest.raises(FormatError, match=r"item 1 .*the field a is empty"):
        choose(path).load()


def test_a_data_set_of_the_hub_is_a_source(tmp_path, declared, monkeypatch):
    pytest.importorskip("datasets", reason="needs datasets: pip install '.[hub]'")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    declared()
    (tmp_path / "set").mkdir()
    (tmp_path / "sums.jsonl").rename(tmp_path / "set" / "test.jsonl")
    text = DECLARED.replace('file = "sums.jsonl"', f'hub = "{tmp_path / "set"}"')
    (tmp_path / "sums.toml").write_text(text)
    assert [item.answer for item in choose(str(tmp_path / "sums.toml")).load(2)] == ["1002", "1003"]
    (tmp_path / "sums.toml").write_text(text.replace('/set"', '/nowhere"'))
    with pytest.raises(ParameterError, match="cannot be loaded"):
        choose(str(tmp_path / "sums.toml")).load()


@pytest.mark.parametrize(
    ("change", "rows", "message"),
    [
        (("grader", "marker"), ROWS, "marker is not a known key; allowed: grader, items"),
        (("after", "aftr"), ROWS, r"items\.aftr is not a known key: did you mean after\?"),
        (('grader = "number"', ""), ROWS, "grader is missing; expected one of number, choice, "),
        (('"number"', '"choice"'), ROWS, "items.choices is missing"),
        (('["\\n"]', '"ab"'), ROWS, r"prompt.stops must be a list of strings such as .*, got 'ab'"),
        (('"number"', '"vibes"'), ROWS, "no grader named"),
        (("[items]", "[item]"), ROWS, "is not a known key|is missing"),
        (('file = "sums.jsonl"', ""), ROWS, "either file or hub"),
        (('question = "What is {a} + {b}?"', ""), ROWS, "items.question is missing"),
        (('question = "What is {a} + {b}?"', "question = 3"), ROWS, "items.question must be a string, got 3"),
        (("{a} + {b}", "{a} + {c}"), ROWS, r"l, line 1: the row has no field 'c', which question = .* names; it has "),
        (("{a} + {b}", "{a}"), [ROWS[0], {"a": 1}], r"line 2: .* has no field 'solution.text', .* names; it has a$"),
        (("{a} + {b}", "{a}"), [{"a": 1, "solution": {"x": 1}}], r"no field 'solution.text', .*; it has x$"),
        (("shots = [[", "shots = [[3, "), ROWS, "pairs of strings"),
        (("name =", "name = =\n"), ROWS, "is not valid TOML"),
        (("", ""), [*ROWS, ROWS[0]], r"item 3 repeats the identifier 'n0' of an earlier item"),
        (("", ""), [], "contains no sums problems"),
        (
            ("", ""),
            [{**ROWS[0], "solution": {"text": "#### many"}}],
            r"item 0 \(n0\): the grader cannot read its answer",
        ),
    ],
)
def test_bad_declarations_and_items_are_named(declared, change, rows, message):
    with pytest.raises(FormatError, match=message):
        choose(declared(DECLARED.replace(*change), rows)).load()


def test_parameters_are_named_and_checked():
    assert choose("gsm_ranges:level=3,seed=7").label == "gsm_ranges:level=3,seed=7"
    assert choose("gsm_ranges:level=1").label == "gsm_ranges"
    for text, message in (
        ("gsm_ranges:level=9", "level must be from 1 to 6"),
        ("gsm_ranges:level=x", "level must be a value such as 1"),
        (
            "gsm_ranges:depth=1",
            "gsm_ranges takes no 'depth'; it takes level, seed, size, cut, digits, prompt, shots, split, style",
        ),
        ("gsm_ranges:level", "parameters must be NAME=VALUE"),
        ("gsm8k:split=dev", "has no split 'dev'"),
        ("gsm8k:shots=9", "has 4 examples"),
        ("nothing.toml", "no such file"),
        ("procbench:steps=0", "steps must be from 1"),
        ("procbench:size=0", "size must be at least 1"),
    ):
        with pytest.raises(ParameterError, match=message):
            choose(text)


@pytest.mark.parametrize("level", [1, 6])
def test_stories_have_numbers_of_their_level_and_answers_that_follow(level):
    items = choose(f"gsm_ranges:level={level},seed=3,size=40").load()
    assert items == choose(f"gsm_ranges:level={level},seed=3,size=80").load(40)
    assert items != choose(f"gsm_ranges:level={level},seed=4,size=40").load()
    assert len({item.question for item in items}) == 40 > len(TEMPLATES)
    assert all(int(item.answer) > 0 for item in items)
    assert max(int(item.answer) for item in items) > 10**level


def test_errors_of_arithmetic_are_told_from_those_of_logic():
    task = find_task("gsm_ranges")
    item = choose("gsm_ranges:size=1").load()[0]
    numbers = [int(word.strip(".")) for word in item.question.split() if word.strip(".").isdigit()]
    a, b, c = numbers
    right = f"{a} + {b} = {a + b}. {a + b} - {c} = {a + b - c}. The answer is {a + b - c}."
    slip = f"{a} + {b} = {a + b + 1}. {a + b + 1} - {c} = {a + b + 1 - c}. The answer is {a + b + 1 - c}."
    wrong = f"{a} - {b} = {a - b}. {a - b} - {c} = {a - b - c}. The answer is {a - b - c}."
    assert task.measure(item, right) == {"arithmetic_error": 0, "logical_error": 0}
    assert task.measure(item, slip) == {"arithmetic_error": 1, "logical_error": 0}
    assert task.measure(item, wrong) == {"arithmetic_error": 0, "logical_error": 1}
    assert task.measure(item, "Who knows.") == {"arithmetic_error": 0, "logical_error": 1}


def test_equations_are_put_right_one_after_the_other():
    assert put_right("2 + 2 = 5.\n5 * 3 = 16. So $16.") == "2 + 2 = 4.\n4 * 3 = 12. So $12."
    assert put_right("3 * 4 = 13 eggs, then 13 + 2 = 15. The answer is 15.").endswith("The answer is 14.")
    assert put_right("4 + 4 = 8. The answer is 9.") == "4 + 4 = 8. The answer is 9."
    assert put_right("") == ""


def test_numbers_that_do_not_follow_from_a_wrong_result_stay():
    question = "He has 15 hats and 3 bags of 4 caps."
    assert put_right("3 * 4 = 15 caps. With 15 hats he has 30.", question) == "3 * 4 = 12 caps. With 15 hats he has 30."
    assert put_right("3 * 4 = 15 caps, 15 hats.", question) == "3 * 4 = 12 caps, 15 hats."
    steps = "4. Now 2 + 3 = 6.\n6. Then step 6: 6 * 2 = 12.\n**Step 6:** 12 - 6 = 6."
    assert put_right(steps) == "4. Now 2 + 3 = 5.\n6. Then step 6: 5 * 2 = 10.\n**Step 6:** 10 - 5 = 5."
    again = "3 * 4 = 15. So 15 caps. 5 * 3 = 15 hats. 15 hats cost $15."
    assert put_right(again) == "3 * 4 = 12. So 12 caps. 5 * 3 = 15 hats. 15 hats cost $15."


def test_an_error_of_arithmetic_does_not_hide_behind_a_number_of_the_question():
    """The wrong 8 is also given: replaced everywhere, it would make a right way wrong."""
    task = find_task("gsm_ranges")
    item = Item("1", "She has 8 bags of 3 pears, 2 + 7 of them green. How many are not green, and how many bags?", "15")
    text = "2 + 7 = 8 green ones. There are 8 * 3 = 24 pears. 24 - 9 = 14. The answer is 14."
    assert task.measure(item, text) == {"arithmetic_error": 1, "logical_error": 0}


def test_procedures_are_judged_step_by_step():
    item = choose("procbench:steps=4,seed=1").load(1)[0]
    states, task = item.secret["states"], ProcBench(steps=4, seed=1)
    text = "\n".join(f"Step {i + 1}: {state}" for i, state in enumerate(states)) + f"\nFinal: {states[-1]}"
    assert task.correct(item, task.read(text))
    assert task.measure(item, text) == {"prefix_accuracy": 1.0, "sequential_match": 1.0}
    astray = text.replace(f"Step 3: {states[2]}", "Step 3: x")
    assert task.measure(item, astray) == {"prefix_accuracy": 0.5, "sequential_match": 0.0}
    assert task.measure(item, "no idea")["prefix_accuracy"] == 0
    assert item.answer == states[-1]
    assert item.secret["states"] not in task.problem(item).data.values()
    assert len({choose("procbench:size=60").load()[i].question for i in range(60)}) == 60
    assert len(OPERATIONS) == 8


EVALUATING = (
    "binary_matrix",
    "countdown",
    "intermediate_integration",
    "n_queens",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
    "spiral_matrix",
    "string_insertion",
)


@pytest.mark.parametrize("dataset", EVALUATING)
def test_answers_that_a_judge_evaluates_calculate_and_do_nothing_else(dataset, tmp_path):
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    task, started = ReasoningGym(dataset=dataset, size=1), reasoning_gym._gym.started
    (item,) = task.load()
    here = tmp_path / "here"
    call = f"__import__('os').system('touch {here}')"
    hostile = [call, f"[{call}]", f'{{"{call}"}}', f"f'{{{call}}}'", call.replace("(", " ("), f"sin({call!r})"]
    hostile += [call.replace("(", "#+\n("), f"({call[:10]})({call[11:]}", f"2*({call})", repr(call)]
    for answer in hostile:
        assert not task.correct(item, answer)
        assert not here.exists()
    assert task.correct(item, item.answer)
    assert reasoning_gym._gym.started - started <= 1


@pytest.mark.parametrize("answer", ["({0}) + sin(0)*exp(1)/(2)", "(({0}))", "{0} - (C) + Rational(1, 2)"])
def test_a_calculation_is_judged_by_what_it_comes_to(answer):
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    task = ReasoningGym(dataset="intermediate_integration", size=1)
    (item,) = task.load()
    assert task.correct(item, answer.format(item.answer))
    assert not task.correct(item, answer.format("x*" + item.answer))


def test_an_answer_that_takes_forever_or_all_memory_is_wrong_and_the_next_is_judged(monkeypatch):
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    task = ReasoningGym(dataset="n_queens", size=1)
    (item,) = task.load()
    monkeypatch.setattr(reasoning_gym._gym, "seconds", 1)
    assert not task.correct(item, "9**9**9**9")
    assert not task.correct(item, "[0]*10**11")
    assert task.correct(item, item.answer)


def test_a_judge_of_reasoning_gym_stays_behind_when_its_task_is_sent_away():
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    task = ReasoningGym(size=1)
    (item,) = task.load()
    assert task.correct(item, item.answer)
    assert pickle.loads(pickle.dumps(task)).correct(item, item.answer)


ITEMS = """
import hashlib, json
from intact.tasks.reasoning_gym import ReasoningGym, _gym
print(json.dumps({
    name: hashlib.sha256(repr(ReasoningGym(dataset=name, size=2).load()).encode("utf-8", "surrogatepass")).hexdigest()
    for name in _gym.ask("data_sets")
    if name != "composite"  # made of others that its settings name
}))
"""


@pytest.mark.slow
def test_all_data_sets_of_reasoning_gym_have_the_same_items_under_any_hash_seed_time_zone_and_locale():
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    surroundings = (
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Auckland", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "2", "TZ": "America/Anchorage", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
    )
    here = [
        subprocess.Popen([sys.executable, "-c", ITEMS], env={**os.environ, **each}, stdout=subprocess.PIPE, text=True)
        for each in surroundings
    ]
    one, other = (json.loads(process.communicate()[0]) for process in here)
    assert len(one) > 100
    assert {name for name in one if one[name] != other[name]} == set()


def test_a_data_set_that_makes_no_items_says_why():
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    with pytest.raises(ParameterError, match=r"composite cannot make item 0: AssertionError: Must specify"):
        ReasoningGym(dataset="composite", size=1).load()


def test_reasoning_gym_needs_no_download_and_judges_by_itself():
    pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    chosen = choose("reasoning_gym:dataset=chain_sum,seed=5,size=4")
    items = chosen.load()
    assert items == choose("reasoning_gym:dataset=chain_sum,seed=5,size=9").load(4)
    assert items != choose("reasoning_gym:dataset=chain_sum,seed=6,size=4").load()
    for item in items:
        assert chosen.task.correct(item, chosen.task.read(f"So \\boxed{{{item.answer}}}."))
        assert not chosen.task.correct(item, chosen.task.read("The answer is 0.5."))
    with pytest.raises(ParameterError, match=r"has no data set 'nothing'; it has .*chain_sum"):
        choose("reasoning_gym:dataset=nothing").load()


EXACT = 'grader = "exact"\n[items]\nfile = "{file}"\nquestion = "{{q}}"\nanswer = "{{a}}"\n'
CHOICE = 'grader = "choice"\n[items]\nfile = "sums.jsonl"\nquestion = "{q}"\nanswer = "{a}"\nchoices = "c"\n'


@pytest.mark.parametrize(
    ("declaration", "row", "text"),
    [
        (EXACT.format(file="sums.jsonl"), {"q": "A poem?", "a": "One\ntwo"}, "The answer is One\nthree"),
        (EXACT.format(file="sums.jsonl"), {"q": "Which?", "a": ["Paris", "Lutetia"]}, "The answer is Rome"),
        (CHOICE, {"q": "Which?", "a": "b", "c": ["x", "y"]}, "It is not B but A."),
    ],
)
def test_other_answers_are_wrong(declared, declaration, row, text):
    chosen = choose(declared(declaration, [row]))
    (item,) = chosen.load()
    assert not chosen.task.correct(item, chosen.task.read_for(item, text))


@pytest.mark.parametrize(
    ("file", "text", "error", "message"),
    [
        ("a.csv", "q,a\nWhy?,no\nWho?,me,you\n", FormatError, "row 2 has 3 values, but the header has 2 names"),
        ("a.csv", "q,a,a\n1,2,3\n", FormatError, "the header has the field 'a' twice"),
        ("a.tsv", "q\ta\nWhy?\tno\tyes\n", FormatError, "row 1 has 3 values"),
        ("a.txt", "Why?", ParameterError, r"no supported extension.*\.tsv \(CSV with tabs and a header\)"),
        ("a.csv", "q,a\nWhy?,no\nWhy?,yes\n", FormatError, "ask the same question but have different answers"),
        ("a.json", '[{"q": "Why?", "a": []}]', FormatError, "must list right answers"),
    ],
)
def test_damaged_data_of_ones_own_are_refused(tmp_path, file, text, error, message):
    (tmp_path / file).write_text(text)
    (tmp_path / "own.toml").write_text(EXACT.format(file=file))
    with pytest.raises(error, match=message):
        choose(str(tmp_path / "own.toml")).load()


def test_tables_with_tabs_are_read_and_the_same_row_twice_is_no_contradiction(tmp_path):
    (tmp_path / "a.tsv").write_text('q\ta\nWhy, say?\t"no"\nWhy, say?\tno\n')
    (tmp_path / "own.toml").write_text(EXACT.format(file="a.tsv"))
    items = choose(str(tmp_path / "own.toml")).load()
    assert [(item.question, item.answer) for item in items] == [("Why, say?", "no")] * 2


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([{"q": "Why?", "a": ["no", "never"]}]), tmp_path / "a.parquet")
    (tmp_path / "own.toml").write_text(EXACT.format(file="a.parquet"))
    (item,) = choose(str(tmp_path / "own.toml")).load()
    assert item.secret == {"answers": ["no", "never"]}


@pytest.mark.parametrize(("answer", "choices"), [("1", ["0", "2", "1"]), ("A", ["b", "a"]), ("Z", ["x", "y"])])
def test_answers_that_may_mean_several_choices_or_none_are_refused(declared, answer, choices):
    with pytest.raises(
        FormatError, match=r"may mean A\) .* or .\)|may mean B\)|not one of 2 choices; it must be its letter"
    ):
        choose(declared(CHOICE, [{"q": "Which?", "a": answer, "c": choices}])).load()


def test_questions_that_share_a_passage_are_a_cluster(declared):
    rows = [{"q": f"{i}?", "a": "yes", "passage": i // 2} for i in range(6)]
    path = declared(EXACT.format(file="sums.jsonl") + 'cluster = "p{passage}"\n', rows)
    assert [item.cluster for item in choose(path).load()] == ["p0", "p0", "p1", "p1", "p2", "p2"]
