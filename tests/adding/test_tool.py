"""A tool is one new file, or a class of another package; receipts of runs can name only this package's own."""

import json

from support.adding import follow, recipe, run_python, write_distribution

USE = """
import json
from intact.reason import Answer, Problem, Use, method
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.testing.toy import MarkovBackend
from intact.reason.tools import TOOLS

@method("a test")
def counting(problem):
    "Count."
    result = yield Use("words", {"text": "a b c"})
    return Answer(result.text)

((_, result),) = Driver({"toy": MarkovBackend()}).solve([MethodJob(counting, Problem("p", "ask"), {})])
print(json.dumps([TOOLS.origin("words"), result.answer.answer, result.cost.runs, result.trace["nodes"][0]["tool"]]))
"""


def test_a_tool_is_one_new_file(tmp_path):
    root = follow("A tool", tmp_path)
    assert json.loads(run_python(USE, root)) == ["intact", "3", 1, "words"]


def test_a_tool_may_come_with_another_package_but_into_no_receipt(tmp_path):
    (text,) = recipe("A tool").values()
    write_distribution(tmp_path, "my-tools", "intact.tools", {"words": "mine:WordsTool"}, {"mine": text})
    assert json.loads(run_python(USE, tmp_path)) == ["my-tools 1.0", "3", 1, "words"]
    program = """
from threading import Event
from intact._base.errors import ParameterError
from intact.reason.budget import Budget
from intact.reason.tool import ToolUse
from intact.reason.tools import find_tool
from intact.solving.receipts.record import RunRecorder
from intact.tasks.score.scorers import find_scorer
try:
    RunRecorder({}, Budget(), {}, find_scorer).use(ToolUse(find_tool("words"), {"text": "a"}), Event())
except ParameterError as error:
    print(error)
"""
    assert "cannot use the tool words, which is not part of this package" in run_python(program, tmp_path)
