"""``intact learn``: what runs have left teaches; on a tiny random model and on logs written out."""

import json
from contextlib import closing

import pytest

import intact
from intact.evaluate.values import sample
from intact.reason.backends.native import NativeBackend
from intact.reason.driving.journal import Journal
from intact.reason.registry import find
from intact.solving.run import JOURNAL, solve_items
from intact.tasks import find_task
from intact.tasks.choose import choose
from intact.tasks.score.answers import number
from intact.tasks.score.value import NextHead, ValueHead
from intact.tasks.score.value.prefixes import PrefixTable
from support.journals import finished
from support.tiny import write_evaluated, write_tiny


@pytest.fixture
def logs(tmp_path):
    """A cheap vote that is right where it is unanimous, and a dear method that is right elsewhere."""
    rows = {"sc4": [], "dear": []}
    for i in range(40):
        unanimous = i % 2 == 0
        votes = {"1": 4.0} if unanimous else {"1": 2.0, "2": 2.0}
        for name, method, tokens, right in (
            ("sc4", "self_consistency", 100, unanimous),
            ("dear", "uct_search", 1000, not unanimous),
        ):
            trace = {"parameters": {"n": 4} if name == "sc4" else {}}
            row = {"id": f"p{i}", "method": method, "trace": trace, "correct": right}
            rows[name].append(row | {"cost": {"tokens": tokens}, "votes": votes})
    for name, lines in rows.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [tmp_path / name / "answers.jsonl" for name in rows]


def test_a_table_of_methods_is_learnt_and_judged(intact_command, logs, tmp_path):
    table = tmp_path / "methods.json"
    told = intact_command("learn", "methods", *logs, "--to", table, "--json")
    assert told.code == 0, told.err
    assert told.json["policy"]["accuracy"] == 1.0
    assert told.json["regret"] < 0
    assert [name for name, _ in told.json["arms"]][1:] == ["uct_search", "self_consistency"]
    assert [name for name, _ in json.loads(table.read_text())["arms"]] == [name for name, _ in told.json["arms"]]
    shown = intact_command("learn", "methods", *logs, "--to", table, "--tokens", 500).out
    assert "self_consistency" in shown
    assert "regret" in shown


def test_logs_that_teach_nothing_are_named(intact_command, logs, tmp_path):
    for arguments, message in (
        ([logs[1]], "a log of self_consistency with n=4"),
        ([*logs, "--tokens", 5], "used at most 5 tokens"),
        ([tmp_path / "none.jsonl"], "none.jsonl"),
        ([logs[0], logs[0]], "line 1 repeats"),
    ):
        told = intact_command("learn", "methods", *arguments, "--to", tmp_path / "table.json")
        assert told.code == 2
        assert message in told.err
        assert not (tmp_path / "table.json").exists()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A task whose answers are written by `answer`."""
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))

    def write(answers):
        rows = [{"question": f"{i}?", "answer": f"#### {answer}"} for i, answer in enumerate(answers)]
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write


OPTIONS = ("--temperature", 1.3, "--max-tokens", 60, "--threads", 1, "-n", 4)


def test_a_value_head_is_learnt_and_used(intact_command, data, tmp_path):
    model = write_tiny(tmp_path / "tiny.gguf")
    data(["0"] * 12)
    loaded = intact.load(model, threads=1)
    backend, task = NativeBackend(loaded), find_task("gsm8k")
    sampling = {"temperature": 1.3, "max_tokens": 60}
    journal = tmp_path / "journal"
    texts = {s.item.id: s.states for s in sample(backend, task, task.load(), 4, sampling=sampling, journal=journal)}
    told = [[number(state.text) for state in texts[item.id]] for item in task.load()]
    assert sum(len(set(one)) > 1 for one in told) > 4, "there must be texts to tell from each other"
    data([next((found for found in one if found), "0") for one in told])
    loaded.close()

    file = tmp_path / "value.json"
    after = tmp_path / "next.json"
    shown = intact_command("learn", "value", "-m", model, "--to", file, "--journal", journal, "--next", after, *OPTIONS)
    assert shown.code == 0, shown.err
    assert "AUROC" in shown.out
    assert "for always saying the mean" in shown.out
    head = NextHead.read(after)
    assert head.learnt["places"] > head.learnt["tokens"] > 0
    assert str(file) in shown.out.replace("\n", "")
    learnt = ValueHead.read(file).learnt
    assert learnt["texts"] == 48
    assert 0 < learnt["held_out"]["base"] < 1
    assert f"{learnt['held_out']['auroc']:.3f} at the end" in shown.out
    solved = intact_command(
        "solve", "best_of_n", "0?", "-m", model, "-n", 3, "--set", f"scorer=value:{file}", "--json", *OPTIONS[:6]
    )
    assert solved.code == 0, solved.err
    assert len(solved.json["details"]["rewards"]) == 3
    searched = intact_command(
        "solve", "saffron", "0?", "-m", model, "-n", 2, "--set", f"scorer=next_value:{after}", "--set", "tokens=6",
        "--json", *OPTIONS[:6],
    )  # fmt: skip
    assert searched.code == 0, searched.err
    assert searched.json["cost"]["scores"] > 6
    kept, options = ("--journal", journal), ("--labels", "tokens", "--task", "gsm8k:split=test")
    tokens = intact_command("learn", "value", "-m", model, "--to", file, *kept, *options, *OPTIONS)
    assert tokens.code == 0, tokens.err
    learnt = ValueHead.read(file).learnt
    assert (learnt["labels"], learnt["task"]) == ("tokens", "gsm8k:split=test")
    steps = intact_command("learn", "value", "-m", model, "--to", file, *kept, "--labels", "search", *OPTIONS)
    assert steps.code == 0, steps.err
    assert ValueHead.read(file).learnt["labels"] == "search"
    assert solved.json["cost"]["scores"] == 3


@pytest.mark.parametrize("task", [find_task("gsm8k"), choose("gsm8k:shots=2,prompt=direct")])
def test_a_base_models_texts_are_those_that_were_kept_when_it_solved_the_task(data, tmp_path, monkeypatch, task):
    data(["0"])
    with closing(intact.load(write_tiny(tmp_path / "tiny.gguf", context=8192), threads=1)) as model:
        monkeypatch.setattr(type(model.tokenizer), "chat_template", None)
        backend, sampling = NativeBackend(model), {"temperature": 1.3, "max_tokens": 20}
        journal = tmp_path / "journal"
        list(
            solve_items(
                {"main": backend},
                find("self_consistency"),
                task,
                task.load(),
                {"n": 4},
                sampling=sampling,
                journal=journal,
            )
        )
        with Journal(journal / JOURNAL) as kept:
            before = finished(kept)
        found = list(sample(backend, task, task.load(), 4, sampling=sampling, journal=journal))
        with Journal(journal / JOURNAL) as kept:
            assert (len(found), before, finished(kept)) == (1, 4, 4)


def test_a_value_head_that_cannot_be_learnt_is_named(intact_command, data, tmp_path):
    model = write_tiny(tmp_path / "tiny.gguf")
    data(["123456789"] * 12)
    told = intact_command("learn", "value", "-m", model, "--to", tmp_path / "value.json", *OPTIONS[:-1], 1)
    assert told.code == 2
    assert "these are all the same" in told.err
    assert "does not exist" in intact_command("learn", "value", "-m", model, "--to", tmp_path / "x" / "value.json").err
    assert not list(tmp_path.glob("value.json*"))
    told = intact_command("learn", "value", "-m", "absent.gguf", "--to", tmp_path / "value.json", "--limit", 9)
    assert told.code == 2
    assert "5 folds need at least 10 problems, but the task has 9" in told.err  # before the model is opened
    told = intact_command("learn", "value", "-m", model, "--to", tmp_path / "value.json", "--labels", "texts")
    assert told.code == 2
    assert "labels must be one of outcome, tokens" in told.err
    told = intact_command("learn", "value", "-m", model, "--to", tmp_path / "value.json", "--task", "gsm8k:shot=2")
    assert told.code == 2
    assert "gsm8k takes no 'shot'" in told.err


def test_prefixes_are_continued_and_guide_a_search(intact_command, tmp_path, monkeypatch):
    place = write_evaluated(tmp_path, 3)
    monkeypatch.chdir(place)
    monkeypatch.setenv("INTACT_DATA", "data")
    made = ("learn", "prefixes", "-m", "tiny.gguf", "--limit", 3, "-n", 2, "--continuations", 3, "--delimiter", "e")
    made += ("--max-tokens", 16, "--temperature", 1, "--journal", "runs", "--to")
    told = intact_command(*made, "table.json", "--json")
    assert told.code == 0, told.err
    table = PrefixTable.read(place / "table.json")
    assert told.json["prefixes"] == sum(len(one.prefixes) for one in table.problems.values()) >= 3
    assert {one.answer for one in table.problems.values()} == {"5", "6", "7"}
    assert {count.total for one in table.problems.values() for count in one.prefixes.values()} == {3}
    assert table.origin["task"] == "gsm8k"
    with Journal(place / "runs" / JOURNAL) as kept:
        before = finished(kept)
    shown = intact_command(*made, "again.json").out
    assert "prefixes of 3 problems, 3 continuations each" in shown
    assert (place / "again.json").read_bytes() == (place / "table.json").read_bytes()
    with Journal(place / "runs" / JOURNAL) as kept:
        assert finished(kept) == before  # nothing is written twice
    search = ("eval", "tiny.gguf", "gsm8k", "--limit", 3, "--method", "beam_search", "--set", "n=4", "--set", "width=2")
    search += ("--set", "delimiter=e", "--set", "steps=3", "--max-tokens", 5, "--out", "search.jsonl")
    told = intact_command(*search, "--set", "scorer=prefix_value:0.75=table.json")
    assert told.code == 0, told.err
    records = [json.loads(line) for line in (place / "search.jsonl").read_text().splitlines()[1:]]
    assert all(record["why"] == "done" for record in records if "why" in record)


def test_prefixes_need_right_answers_of_one_form(intact_command, tmp_path, monkeypatch):
    place = write_evaluated(tmp_path, 3)
    monkeypatch.chdir(place)
    monkeypatch.setenv("INTACT_DATA", "data")
    monkeypatch.setattr("intact.tasks.gsm8k.GSM8K.correct", lambda self, item, answer: True)
    told = intact_command("learn", "prefixes", "-m", "tiny.gguf", "--max-tokens", 9, "--to", "table.json")
    assert told.code != 0
    assert "right answers have one form, but gsm8k/test/" in told.err
    monkeypatch.setattr("intact.tasks.gsm8k.GSM8K.read", lambda self, text: None)
    told = intact_command("learn", "prefixes", "-m", "tiny.gguf", "--max-tokens", 9, "--to", "table.json")
    assert "has no canonical form: '5'" in told.err
    assert not (place / "table.json").exists()
