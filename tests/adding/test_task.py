"""A task is one new file, or a class of another package."""

import json

from support.adding import follow, recipe, run_python, write_distribution

USE = """
import contextlib, io, json, os, sys
from intact.cli.app import app
from intact.tasks import find_task
from intact.tasks.task import TASKS

printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    app(["tasks", "capitals", "--json"], standalone_mode=False)
(described,) = json.loads(printed.getvalue())
task = find_task("capitals")
(item,) = task.load()
read = [task.read(text) for text in ("It is Paris.", "Paris", "Lyon", "")]
print(json.dumps([described["problems"], item.id, [task.grade(item, one) for one in read], TASKS.origin("capitals")]))
"""


def use(tmp_path, monkeypatch, *path):
    data = tmp_path / "data" / "capitals"
    data.mkdir(parents=True)
    (data / "test.jsonl").write_text('{"country": "France", "capital": "Paris"}\n')
    monkeypatch.setenv("INTACT_DATA", str(data.parent))
    return json.loads(run_python(USE, *path))


def test_a_task_is_one_new_file(tmp_path, monkeypatch):
    root = follow("A task", tmp_path / "copy")
    verdicts = [True, True, False, False]
    assert use(tmp_path, monkeypatch, root) == [1, "capitals/test/0", verdicts, "intact"]


def test_a_task_may_come_with_another_package(tmp_path, monkeypatch):
    (text,) = recipe("A task").values()
    folder = tmp_path / "site"
    write_distribution(folder, "my-tasks", "intact.tasks", {"capitals": "my_capitals:Capitals"}, {"my_capitals": text})
    found = use(tmp_path, monkeypatch, folder)
    assert found[-1] == "my-tasks 1.0"
    assert found[0] == 1
