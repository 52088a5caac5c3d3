"""A method is one new file, or a function of another package."""

import json

from support.adding import follow, recipe, run_python, write_distribution

USE = """
import contextlib, io, json
from intact.cli.app import app
from intact.reason import Problem
from intact.reason.driving.driver import Driver
from intact.reason.registry import METHODS, find
from intact.reason.driving.services import MethodJob
from intact.reason.testing.toy import MarkovBackend

printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    app(["methods", "--json"], standalone_mode=False)
described = {one["name"]: one for one in json.loads(printed.getvalue())}["shortest"]
driver = Driver({"toy": MarkovBackend()}, sampling={"max_tokens": 12})
((_, result),) = driver.solve([MethodJob(find("shortest"), Problem("p", "ask"), {"n": 3})])
chosen = result.trace["chosen"]
lengths = [node["tokens"] for node in result.trace["nodes"]]
first = [node["branch"] for node in result.trace["nodes"] if node["tokens"] == min(lengths)][0]
print(json.dumps([described["origin"], described["parameters"][0]["name"], chosen == first, len(lengths)]))
"""


def test_a_method_is_one_new_file(tmp_path):
    root = follow("A reasoning method", tmp_path)
    assert json.loads(run_python(USE, root)) == ["intact", "n", True, 3]


def test_a_method_may_come_with_another_package(tmp_path):
    (text,) = recipe("A reasoning method").values()
    write_distribution(tmp_path, "my-methods", "intact.methods", {"shortest": "mine:shortest"}, {"mine": text})
    assert json.loads(run_python(USE, tmp_path)) == ["my-methods 1.0", "n", True, 3]
