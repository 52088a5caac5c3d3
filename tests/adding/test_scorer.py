"""A scorer is one new file, or a class of another package; receipts of runs can name only this package's own."""

import json

from support.adding import follow, recipe, run_python, write_distribution

USE = """
import contextlib, io, json
from intact.cli.app import app
from intact.reason import Problem
from intact.reason.driving.driver import Driver
from intact.reason.registry import find
from intact.reason.driving.services import MethodJob, Services
from intact.tasks.score.scorers import find_scorer
from intact.reason.testing.toy import MarkovBackend

printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    app(["methods", "--scorers", "--json"], standalone_mode=False)
origins = {one["name"]: one["origin"] for one in json.loads(printed.getvalue())}
driver = Driver({"toy": MarkovBackend()}, sampling={"max_tokens": 12}, services=Services(find_scorer))
((_, result),) = driver.solve([MethodJob(find("best_of_n"), Problem("p", "ask"), {"n": 3, "scorer": "brevity"})])
print(json.dumps([origins["brevity"], origins["equations"], result.why, result.cost.scores]))
"""


def test_a_scorer_is_one_new_file(tmp_path):
    root = follow("A scorer", tmp_path)
    assert json.loads(run_python(USE, root)) == ["intact", "intact", "done", 3]


def test_a_scorer_may_come_with_another_package(tmp_path):
    (text,) = recipe("A scorer").values()
    write_distribution(tmp_path, "my-scorers", "intact.scorers", {"brevity": "mine:Brevity"}, {"mine": text})
    assert json.loads(run_python(USE, tmp_path)) == ["my-scorers 1.0", "intact", "done", 3]


def test_a_run_with_a_receipt_refuses_a_scorer_of_another_package(tmp_path):
    (text,) = recipe("A scorer").values()
    write_distribution(tmp_path, "my-scorers", "intact.scorers", {"brevity": "mine:Brevity"}, {"mine": text})
    program = """
from intact._base.errors import ParameterError
from intact.reason.budget import Budget
from intact.reason.driving.services import Root
from intact.solving.receipts.record import RunRecorder
from intact.tasks.score.scorers import find_scorer
try:
    RunRecorder({}, Budget(), {}, find_scorer).scorer(Root(b"", False, False), "brevity")
except ParameterError as error:
    print(error)
"""
    assert "cannot use the scorer brevity of my-scorers 1.0" in run_python(program, tmp_path)
