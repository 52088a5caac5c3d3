"""``intact learn concepts``: a memory of concepts, written from training problems that were answered rightly."""

import hashlib
import json
import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from intact._base.errors import FormatError, ParameterError
from intact.evaluate import concepts
from intact.evaluate.concepts import solved_problems, write_memory
from intact.evaluate.files import traces_of, write
from intact.evaluate.plan import plan
from intact.evaluate.run import evaluate
from intact.reason.parts.concepts import read_memory
from intact.tasks.choose import choose
from support.script import ScriptBackend

TASK = "gsm8k:split=train"
QUESTIONS = {"2 + 2?": "4", "3 + 3?": "6", "5 + 5?": "10", "7 + 7?": "14", "9 + 9?": "18"}
WRONG = "7 + 7?"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Problems of a task of which a scripted model gets all but one right."""
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": question, "answer": f"#### {answer}"} for question, answer in QUESTIONS.items()]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))


def solve(prompt, text, place):
    question = prompt.partition("\n")[0]
    return f"I add {place}. The answer is {0 if question == WRONG else QUESTIONS[question]}."


@pytest.fixture
def result(data, tmp_path):
    """Make the result file of a run."""

    def run(name="run.jsonl", task=TASK, reply=solve, **options):
        backend = {"script": ScriptBackend(reply)}
        found = evaluate(backend, plan([choose(task)], "self_consistency", {"n": 2}, **options))
        write(found, tmp_path / name, {})
        return tmp_path / name

    return run


def concept(name, about="numbers"):
    return f"Name: {name}\nKind: routine\nParameters: none\nDescription: Add {about}.\nCues: a plus sign"


def reply(prompt, text, place):
    """Two concepts of one name, one that is not in the form, and another."""
    question = re.search(r"\d \+ \d\?", prompt)[0]
    replies = {"2 + 2?": concept("Sums"), "3 + 3?": concept("SUMS", "others"), "5 + 5?": "Add them."}
    return replies.get(question, f"Of course:\n\n{concept('Doubles')}\n\nThat is all.")


def learnt(file, backend=None, **options):
    return write_memory({"script": backend or ScriptBackend(reply)}, solved_problems([file]), **options)


def header_of(text):
    return json.loads(text.partition("\n")[0])


def test_a_concept_is_written_of_each_problem_that_was_answered_rightly(result):
    file, backend = result(), ScriptBackend(reply)
    memory = learnt(file, backend)
    assert len(backend.asked) == 4
    assert not any(WRONG in prompt for prompt in backend.asked)
    assert "Problem:\n2 + 2?" in backend.asked[0]
    assert "Solution:\nI add 0. The answer is 4." in backend.asked[0]
    found, sources = read_memory(memory.text, "file")
    assert found == [concept("Sums"), concept("Doubles")]
    assert [(one.task, one.id) for one in sources] == [(TASK, f"gsm8k/train/{number}") for number in (0, 1, 4)]
    assert memory.counts == {
        "read": 5, "solved": 4, "written": 3, "merged": 1, "not_in_form": 1, "failed": 0, "without_text": 0,
    }  # fmt: skip


def test_the_header_states_model_prompt_counts_and_result_files(result):
    file = result()
    header = header_of(learnt(file).text)
    assert header["results"] == [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert header["models"] == [{"name": "script", "identity": "script"}]
    assert (header["method"]["name"], header["method"]["sampling"]) == (
        "chain_of_thought", {"temperature": 0.0, "max_tokens": 512},
    )  # fmt: skip
    assert header["prompt"] == concepts.WRITE
    assert header["counts"]["not_in_form"] == 1
    assert [one["name"] for one in header["concepts"]] == ["Sums", "Doubles"]


def test_the_methods_page_shows_the_form_that_the_prompt_asks_for():
    page = (Path(__file__).parents[2] / "docs" / "methods" / "concept_memory.md").read_text()
    form = concepts.WRITE[concepts.WRITE.index("Name:") :]
    assert form in "\n".join(line.removeprefix("   ") for line in page.splitlines())


def test_replies_are_greedy(result):
    class Noting(ScriptBackend):
        def _written(self, generation):
            heats.append(generation.parameters.temperature)
            return super()._written(generation)

    heats = []
    learnt(result(), Noting(reply))
    assert heats == [0.0] * 4


def test_the_memory_has_the_same_bytes_at_any_number_of_problems_at_a_time(result, tmp_path):
    class Backwards(ScriptBackend):
        """Ends the texts of a step in the opposite order, one a step."""

        def step(self):
            ended, self._pending = self._pending[-1:], self._pending[:-1]
            for generation in ended:
                generation.written = self._written(generation)
            return ended

    file = result()
    expected = learnt(file).text
    for parallel in (1, 2, 64):
        assert learnt(file, Backwards(reply), parallel=parallel).text == expected
    assert learnt(file, journal=tmp_path / "journal").text == expected
    silent = ScriptBackend(lambda *_: "not asked again")
    assert learnt(file, silent, journal=tmp_path / "journal").text == expected
    assert not silent.asked


def test_a_problem_of_several_seeds_and_files_counts_once(result):
    several = result("seeds.jsonl", seeds=(0, 1))
    backend = ScriptBackend(reply)
    problems = solved_problems([several, result()])
    memory = write_memory({"script": backend}, problems)
    assert (len(backend.asked), memory.counts["read"], len(problems.results)) == (4, 5, 2)


def test_problems_of_one_identifier_keep_apart_where_tasks_have_other_parameters(data, tmp_path):
    row = {"question": "Ann has 12 apples and buys 30.", "answer": "<<12+30=42>>42\n#### 42"}
    (tmp_path / "data" / "gsm8k" / "test.jsonl").write_text(json.dumps(row) + "\n")

    tasks = [choose(f"gsm8k_numbers:level={level}") for level in (0, 1, 2)]
    sums = {str(task.load()[0].question): task.load()[0].answer for task in tasks}
    backend = ScriptBackend(lambda prompt, *_: f"The answer is {next(a for q, a in sums.items() if q in prompt)}.")
    write(evaluate({"script": backend}, plan(tasks, "self_consistency", {"n": 1})), tmp_path / "levels.jsonl", {})
    problems = solved_problems([tmp_path / "levels.jsonl"])
    assert {one.source.id for one in problems.solved} == {"gsm8k_numbers/test/0"}
    assert len({one.source.task for one in problems.solved}) == len({one.question for one in problems.solved}) == 3


def test_the_text_that_the_answer_was_taken_from_is_the_solution(result):
    def second(prompt, text, place):
        return solve(prompt, text, place) if place else "<think>No idea.</think> I cannot say."

    problems = solved_problems([result(reply=second)]).solved
    assert problems[0].solution == "I add 1. The answer is 4."


def test_what_a_model_thinks_is_no_part_of_the_solution(result):
    file = result(reply=lambda *given: f"<think>Hm.</think>\n{solve(*given)}")
    assert solved_problems([file]).solved[0].solution == "I add 0. The answer is 4."


def test_replies_that_fail_are_counted_and_the_first_is_named(result):
    class Failing(ScriptBackend):
        def _written(self, generation):
            written = super()._written(generation)
            return written._replace(why="error", error="no room", text="") if "3 + 3?" in self.asked[-1] else written

    memory = learnt(result(), Failing(reply))
    assert (memory.counts["failed"], memory.counts["written"]) == (1, 2)
    assert memory.error.startswith("gsm8k/train/1: ")
    assert "no room" in memory.error


def test_a_memory_that_methods_would_not_read_is_refused(result, monkeypatch):
    file = result()
    monkeypatch.setattr(concepts, "LARGEST_FILE", 100)
    with pytest.raises(ParameterError, match=r"methods read at most 100: learn from fewer problems"):
        learnt(file)


def test_trees_of_another_run_are_named(result):
    file = result()
    lines = traces_of(file).read_text().splitlines(keepends=True)
    data = "".join(reversed(lines)).encode()
    before = hashlib.sha256(traces_of(file).read_bytes()).hexdigest()
    file.write_text(file.read_text().replace(before, hashlib.sha256(data).hexdigest()))
    traces_of(file).write_bytes(data)
    with pytest.raises(FormatError, match=r"run.traces.jsonl, line 1 is not a tree of texts of its result file"):
        solved_problems([file])


@pytest.fixture
def command(intact_command, monkeypatch, tmp_path):
    """Run the command with a scripted model; the result has the prompts that it was given."""

    def run(*arguments, script=reply):
        backend = ScriptBackend(script)

        @contextmanager
        def opened(named, continues="no", now=None, mix=None):
            yield dict.fromkeys(named, backend)

        monkeypatch.setattr("intact.solving.run.opened", opened)
        given = ("--model", "http://127.0.0.1:1/v1#x", "--to", tmp_path / "concepts.txt")
        found = intact_command("learn", "concepts", *arguments, *given)
        found.asked = backend.asked
        return found

    return run


def test_the_command_writes_the_file_and_says_what_was_left_out(command, result, tmp_path):
    file = result()
    shown = command(file)
    assert shown.code == 0, shown.err
    assert "4 of 5 problems were answered rightly; 3 concepts written, 1 of them merged" in shown.out
    assert "left out: 1 not in the form" in shown.out
    assert "test split" not in shown.err
    text = (tmp_path / "concepts.txt").read_text()
    assert header_of(text)["concepts"][0]["sources"][1]["id"] == "gsm8k/train/1"
    counted = command(file, "--json", "--parallel", 1)
    assert (counted.json["concepts"], counted.json["merged"]) == (["Sums", "Doubles"], 1)
    assert (tmp_path / "concepts.txt").read_text() == text


def test_the_prompt_is_an_option(command, result):
    told = command(result(), "--prompt", "{question}|{solution}")
    assert told.asked[0] == "2 + 2?\n\n" + told.asked[0].split("\n\n")[1]
    assert told.asked[0].endswith("|I add 0. The answer is 4.")


def test_a_test_split_is_noted(command, result):
    assert "gsm8k is a test split" in command(result(task="gsm8k")).err


def test_bad_input_is_named_before_a_model_is_asked(command, intact_command, result, tmp_path):
    file = result()
    bare = result("bare.jsonl")
    traces_of(bare).unlink()
    wrong = result("wrong.jsonl", reply=lambda *_: "The answer is 1.")
    (tmp_path / "other.jsonl").write_text("{}\n")
    for arguments, message in (
        ([tmp_path / "none.jsonl"], "none.jsonl: no such file"),
        ([tmp_path / "other.jsonl"], "other.jsonl is not a result file of `intact eval`"),
        ([bare], "bare.traces.jsonl, which contains the texts of"),
        ([file, file], "run.jsonl is given twice; name each result file once"),
        ([wrong], "of the 5 problems in"),
        ([file, "--prompt", "Of {question}"], "it lacks {solution}"),
    ):
        refused = command(*arguments)
        assert refused.code == 2
        assert message in refused.err
        assert not refused.asked
    assert not (tmp_path / "concepts.txt").exists()
    for to, message in ((tmp_path / "x" / "c.txt", "--to: "), (file, "is one of the result files")):
        refused = intact_command("learn", "concepts", file, "--model", "absent.gguf", "--to", to)
        assert refused.code == 2
        assert message in refused.err


def test_replies_none_of_which_is_in_the_form_write_no_file(command, result, tmp_path):
    refused = command(result(), script=lambda *_: "no")
    assert refused.code == 2
    assert "of 4 replies, 4 do not have the form (name, kind, parameters, description, cues)" in refused.err
    assert not (tmp_path / "concepts.txt").exists()


def test_a_learnt_memory_is_refused_for_its_own_problems_and_serves_others(command, result, tmp_path):
    assert command(result()).code == 0
    backend = ScriptBackend(lambda prompt, *_: "Concepts: none" if "Concepts:" in prompt else solve(prompt, "", 0))
    parameters = {"file": str(tmp_path / "concepts.txt"), "n": 1}
    run = evaluate({"script": backend}, plan([choose(TASK)], "concept_memory", parameters))
    # the concept of problem 2 was left out, and problem 3 was answered wrongly
    assert [record.why for record in run.records] == ["failed", "failed", "done", "done", "failed"]
    assert "has a concept from 'gsm8k/train/0' of 'gsm8k:split=train'" in run.records[0].error
