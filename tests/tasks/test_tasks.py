"""Every task: its data load, its right answers are right, others are not, and texts that answer are read."""

import json
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.tasks import Item, Task, all_tasks, data_folder, find_task
from intact.tasks.data import read_rows
from intact.tasks.score import code
from intact.tools.prove.assistants import find_assistant
from intact.tools.sandbox import protection

TASKS = all_tasks()
COUNTS = {
    "arc_challenge": 299,
    "arc_challenge_likelihood": 299,
    "arc_easy": 570,
    "arc_easy_likelihood": 570,
    "basic_arithmetic": 3000,
    "folio": 204,
    "game24": 100,
    "gsm8k": 660,
    "gsm8k_numbers": 257,
    "gsm_ranges": 100,
    "humaneval": 164,
    "inequality_bounds": 100,
    "inequality_relations": 100,
    "math500": 500,
    "mawps_addsub": 395,
    "mawps_multiarith": 600,
    "mawps_singleop": 562,
    "mbpp": 257,
    "minif2f": 244,
    "minif2f_rocq": 244,
    "procbench": 100,
    "prontoqa": 500,
    "proofwriter": 600,
    "reasoning_gym": 100,
    "svamp": 1000,
}
SANDBOXED = ("humaneval", "mbpp")
COMPARED = ("arc_challenge_likelihood", "arc_easy_likelihood")  # by likelihoods; nobody asks for an answer
MADE = ("gsm_ranges", "inequality_bounds", "inequality_relations", "procbench", "reasoning_gym")
UNWRITTEN = (
    "game24",
    "minif2f",
    "minif2f_rocq",
    *COMPARED,
    *SANDBOXED,
)  # in the data is no answer that a model would give


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


def items(task: Task, data_dir) -> list[Item]:
    if task.name == "reasoning_gym":
        pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install '.[reasoning-gym]'")
    return task.load(folder=data_dir)


def test_all_tasks_are_found():
    assert set(TASKS) == set(COUNTS)


def test_items_have_ids_of_their_own_for_good(task, data_dir):
    found = items(task, data_dir)
    assert len(found) == len({item.id for item in found}) == COUNTS[task.name]
    split = next(iter(task.files))
    assert all(item.id.startswith(f"{task.name}/{split}/") for item in found)
    assert task.load(folder=data_dir, limit=3) == found[:3]


def test_every_task_says_what_it_is(task):
    assert task.line
    assert task.source
    assert task.licence


def test_right_answers_are_read_and_right_in_every_form(task, data_dir):
    if task.name in UNWRITTEN:
        pytest.skip("has a test of its own")
    for item in items(task, data_dir)[::29]:
        for text in (
            f"So \\boxed{{{item.answer}}}.",
            *[f"So we think. The answer is {item.answer}.", f"**Answer:** {item.answer}"][
                : 0 if task.name in MADE else 2
            ],
        ):
            assert task.correct(item, task.read(text)), (item.answer, text, task.read(text))


def test_another_items_answer_is_wrong(task, data_dir):
    if task.name in UNWRITTEN:
        pytest.skip("has a test of its own")
    found = items(task, data_dir)[::29]
    for one in found:
        other = next(item for item in found if item.answer != one.answer)
        assert not task.correct(one, task.read(f"\\boxed{{{other.answer}}}"))


def test_no_answer_is_never_right(task, data_dir):
    if not task.graded:
        pytest.skip("has no judge")
    item = items(task, data_dir)[0]
    assert not task.correct(item, None)
    assert task.read("") is None
    if task.name not in (*SANDBOXED, *COMPARED, "minif2f", "minif2f_rocq", "procbench"):
        assert task.read("\\boxed{5} but then \\boxed{6") is None


def test_examples_answer_what_they_say_and_are_not_of_the_data(task, data_dir):
    questions = {item.question for item in items(task, data_dir)}
    for question, answer in task.shots:
        assert question not in questions
        assert task.read(answer) is not None
    assert task.shots or task.name in (*SANDBOXED, *COMPARED, "minif2f", "minif2f_rocq")


def test_prompts_hold_the_question_and_never_the_answer(task, data_dir):
    item = items(task, data_dir)[0]
    if task.name in COMPARED:
        with pytest.raises(ParameterError, match="has no chat prompt"):
            task.problem(item)
        assert item.question in task.problem(item, "base").prompt
        return
    problem = task.problem(item)
    assert item.question in problem.prompt[0][1]
    assert task.instruction in problem.prompt[0][1]
    base = task.problem(item, style="base").prompt
    assert isinstance(base, str)
    assert item.question in base
    assert problem.id == item.id
    assert item.secret not in problem.data.values()
    assert task.base(item, shots=0).count("Question:") <= 1


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("arc_easy", "The answer is (B) rain.", "B"),
        ("arc_easy", "B", "B"),
        ("arc_easy", "A mirror reflects. So it must be C.", "C"),
        ("arc_easy", "Answer: **D**", "D"),
        ("arc_easy", "\\boxed{\\text{A}}", "A"),
        ("arc_easy", "A cat sat.", None),
        ("arc_easy", "The best answer: C. Neither option A nor B explain it.", "C"),
        ("arc_easy", "The answer is B. The other choices are wrong.", "B"),
        ("arc_easy", "The answer is (D), since option B fails.", "D"),
        ("arc_easy", "Option A is wrong. I think it is B.", "B"),
        ("arc_easy", "B and C are too cold. So I choose option A because it is not.", "A"),
        ("arc_easy", "The answer is not A but B.", "B"),
        ("arc_easy", "So I take option (c).", "C"),
        ("arc_easy", "The answer is 'C'.", "C"),
        ("arc_easy", "It's B, not A", "B"),
        ("arc_easy", "I choose B over A", "B"),
        ("arc_easy", "I choose A because it fits.", "A"),
        ("arc_easy", "B is right. C is wrong.", "B"),
        ("arc_easy", "Let X be 5. Then F is 3, so B", "B"),
        ("arc_easy", "\\boxed{b}", "B"),
        ("arc_easy", "\\boxed{\\text{(a) rain}}", "A"),
        ("arc_easy", "the answer is b", "B"),
        ("arc_easy", "**Answer: (c)**\nIt is warm.", "C"),
        ("arc_easy", "The answer is a mirror.", None),
        ("folio", "The conclusion is therefore uncertain", "C"),
        ("folio", "\\boxed{\\text{False}}", "B"),
        ("prontoqa", "Max is sour: True. No, wait: False", "B"),
        ("proofwriter", "The answer is Unknown", "C"),
        ("game24", "10 - 4 = 6 (left: 6)\nAnswer: (10 - 4) * (5 - 1) = 24", "(10-4)*(5-1)"),
        ("game24", "so \\boxed{8 \\times (4 - 1)}", "8*(4-1)"),
        ("svamp", "She has -3.50 dollars", "-3.5"),
    ],
)
def test_answers_are_read_as_they_are_meant(name, text, answer):
    assert TASKS[name].read(text) == answer


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("(10-4)*(5-1)", False),
        ("6*4*(10-9)", False),
        ("(5*6)-(10-4)", True),
        ("5*6-10+4", True),
        ("24", False),
        ("4*6", False),
        ("5*6-10+4+0", False),
        ("5*6*10*4", False),
        ("(((((", False),
        ("5/(6-6)", False),
    ],
)
def test_a_game_of_24_uses_each_number_once(data_dir, answer, right):
    (item,) = [item for item in items(TASKS["game24"], data_dir) if item.question == "4 5 6 10"]
    assert TASKS["game24"].correct(item, answer) == right


@pytest.mark.parametrize(
    ("log", "share", "solved"), [("standard", Fraction(734, 10000), 33), ("cot", Fraction(403, 10000), 49)]
)
def test_the_judge_of_game24_agrees_with_the_published_logs(data_dir, log, share, solved):
    task = TASKS["game24"]
    puzzles = {item.id.rpartition("/")[2]: item for item in items(task, data_dir)}
    path = data_dir / "logs" / "game24_gpt4" / f"gpt-4_0.7_naive_{log}_sample_100_start900_end1000.json"
    verdicts = [
        [task.correct(puzzles[str(row["idx"])], task.read(y)) for y in row["ys"]]
        for row in json.loads(path.read_text())
    ]
    assert Fraction(sum(map(sum, verdicts)), 10000) == share
    assert sum(map(any, verdicts)) == solved


LONGEST = (("humaneval", "75"), ("humaneval", "36"), ("humaneval", "147"), ("humaneval", "32"), ("mbpp", "18"))
"""The items whose model solutions take the most steps, but for mbpp/64."""


@pytest.fixture
def passes_with_a_tenth(monkeypatch):
    """Judge the model solution of an item with a tenth of the steps."""
    monkeypatch.setattr(code, "TESTING", replace(code.TESTING, steps=code.TESTING.steps // 10))
    return lambda name, item: TASKS[name].correct(item, TASKS[name].read_for(item, item.answer))


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
@pytest.mark.parametrize(("name", "row"), LONGEST)
def test_the_longest_model_solutions_take_less_than_a_tenth_of_the_steps(name, row, data_dir, passes_with_a_tenth):
    (item,) = [item for item in items(TASKS[name], data_dir) if item.id.endswith(f"/{row}")]
    assert passes_with_a_tenth(name, item)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
@pytest.mark.parametrize("name", SANDBOXED)
def test_all_model_solutions_take_less_than_a_tenth_of_the_steps(name, data_dir, passes_with_a_tenth):
    assert [item.id for item in items(TASKS[name], data_dir) if not passes_with_a_tenth(name, item)] == []


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
@pytest.mark.parametrize("name", SANDBOXED)
def test_model_solutions_pass_their_tests_and_empty_ones_do_not(name, data_dir):
    task = TASKS[name]
    for item in items(task, data_dir)[::40]:
        solution = task.read_for(item, item.answer)
        assert task.correct(item, solution)
        assert not task.correct(item, task.read_for(item, "    return None\n"))
        assert not task.correct(item, f"import sys\nprint('passed')\nsys.exit(0)\n{solution}")
        whole = item.question + item.answer if name == "humaneval" else item.answer
        assert (
            task.read_for(item, f"Here it is:\n```python\n{whole}\n```\nUse it:\n```python\nprint(1)\n```") == solution
        )


def test_public_tests_are_true_and_hidden_ones_stay_hidden(data_dir):
    item = items(TASKS["humaneval"], data_dir)[0]
    assert len(item.data["tests"]) == 2
    assert "has_close_elements([1.0, 2.0, 3.0], 0.5)" in item.data["tests"][0]
    problem = TASKS["humaneval"].problem(item)
    assert "METADATA" not in str(problem.data)
    assert "METADATA" in item.secret["tests"]


def test_absent_and_damaged_data_are_named(task, tmp_path, monkeypatch):
    if task.name in MADE:
        pytest.skip("needs no data")
    monkeypatch.setenv("INTACT_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    got = f"`intact tasks {task.name} --fetch` fetches it" if task.upstream else f"get it from {re.escape(task.source)}"
    with pytest.raises(ParameterError, match=rf"does not exist: {got}.*, or name the folder .*INTACT_DATA"):
        task.load()
    path = tmp_path / next(iter(task.files.values()))
    path.parent.mkdir(parents=True)
    path.write_text(
        "Rank\n" + "1\n" * 1000 if path.suffix == ".csv" else '[{"a": 1}]' if path.suffix == ".json" else '{"a": 1}'
    )
    with pytest.raises(FormatError, match=f"is not a valid {task.name} problem"):
        task.load()
    if path.suffix != ".csv":
        path.write_text('{"a": ')
        with pytest.raises(FormatError, match="is not valid JSON"):
            task.load()


def test_a_file_of_ones_own_is_taken_as_it_is(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "easy #### 2"}\n')
    (item,) = TASKS["gsm8k"].load(folder=path)
    assert (item.id, item.question, item.answer) == ("gsm8k/test/0", "1 + 1?", "2")


def test_names_and_limits_that_make_no_sense_are_refused(data_dir):
    with pytest.raises(ParameterError, match=r"no task named 'gsm9k': did you mean gsm8k"):
        find_task("gsm9k")
    with pytest.raises(ParameterError, match=r"no task named 'sums.jsonl'; available: .*, and FILE.toml for your own"):
        find_task("sums.jsonl")
    with pytest.raises(ParameterError, match=r"has no split 'valid'; it has test, train"):
        TASKS["gsm8k"].load("valid", folder=data_dir)
    with pytest.raises(ParameterError, match="limit"):
        TASKS["gsm8k"].load(limit=0, folder=data_dir)


def test_files_beyond_what_a_parser_takes_are_named_and_long_cells_are_read(tmp_path):
    deep = tmp_path / "deep.jsonl"
    deep.write_text("[" * 200_000 + "]" * 200_000 + "\n")
    with pytest.raises(FormatError, match="line 1 is nested too deeply"):
        read_rows(deep)
    long = tmp_path / "long.csv"
    long.write_text("q,a\n" + "x" * 140_000 + ",1\n")
    assert [len(row["q"]) for row in read_rows(long)] == [140_000]


def test_a_proof_is_judged_by_rocq_and_read_from_what_a_model_writes(data_dir):
    rocq, task = find_assistant("rocq"), find_task("minif2f_rocq")
    if rocq.missing() is not None or protection().kind != "bubblewrap":
        pytest.skip(rocq.missing() or "needs bubblewrap")
    (item,) = task.load(limit=1, folder=data_dir)
    whole = item.question.removesuffix("```") + "Proof.\n  intros; lia.\nQed.\n```\n"
    assert task.read(f"Sure:\n{whole}") == "intros; lia."
    easy = replace(item, secret={"statement": "Theorem t : forall n : nat, n <= n + n."})
    assert task.correct(easy, task.read("```\nintros n.\nlia\n```"))
    assert task.grade(easy, "intros n. admit.") is False
    assert task.grade(easy, task.read("Proof. intros. Admitted.")) is False
    changed = replace(item, secret={"statement": "Theorem t : exists f : Z -> Z, f 0 = 0%Z."})
    assert not task.correct(changed, "now exists (fun n => n).")  # Z is not there without the header
    assert task.read("I cannot prove it.") is None
