"""Receipts of a task's problems: one each, whose answers a verifier reads as the task does."""

from dataclasses import replace

import pytest

import intact
from intact._base.errors import ParameterError
from intact.reason.driving.services import MethodJob
from intact.reason.problem import Problem
from intact.reason.registry import find
from intact.solving.receipts.document import RunReceipt
from intact.solving.run import backends_of, solve_all, solve_items
from intact.tasks import find_task
from intact.tasks.task import Item
from intact.tools.sandbox import protection
from support.run_forger import judge
from support.tiny import write_tiny

GSM = [Item(f"gsm8k/test/{i}", f"What is {i} + 4?", str(i + 4)) for i in range(4)]
PROGRAM = Item(
    "mbpp/test/9",
    "Write a function that adds two numbers.",
    "",
    {"entry": "add", "before": "", "shown": "assert add(1, 2) == 3", "tests": ["assert add(1, 2) == 3"]},
    {"tests": "assert add(2, 2) == 4"},
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("models") / "m.gguf", context=1024), threads=1)


def solve(model, name, items, method="self_consistency", parameters=None, **options):
    asked = {"sampling": {"max_tokens": 24, "temperature": 1.0}, **options}
    found = solve_items(
        backends_of(model), find(method), find_task(name), items, parameters or {"n": 3}, receipt=True, **asked
    )
    graded = sorted(found, key=lambda one: [item.id for item in items].index(one.item.id))
    return [one.result.receipt for one in graded]


def test_each_problem_has_a_receipt(model):
    receipts = solve(model, "gsm8k", GSM)
    assert [receipt.header.id for receipt in receipts] == [item.id for item in GSM]
    assert {receipt.header.reader for receipt in receipts} == {"task:gsm8k"}
    assert [judge(model, receipt)[0] for receipt in receipts] == ["true"] * 4
    alone = solve(model, "gsm8k", GSM[2:3])
    assert alone == receipts[2:3]  # company changes nothing


def test_another_problem_is_another_run(model):
    (receipt,) = solve(model, "gsm8k", GSM[:1])
    for lie in ({"id": "gsm8k/test/7"}, {"prompt": (("user", "What?"),)}, {"reader": "text"}, {"reader": "task:mbpp"}):
        false = RunReceipt.make(replace(receipt.header, **lie), receipt.entries, receipt.result)
        assert judge(model, false)[0] == "false"


@pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")
def test_public_tests_are_run_again(model):
    constraint = r"```python\ndef add\(a, b\):\n    return (a \+ b|a|b|3)\n```"
    sampling = {"max_tokens": 40, "temperature": 1.0, "regex": constraint}
    asked = {"n": 6, "scorer": "unit_tests:60"}
    (receipt,) = solve(model, "mbpp", [PROGRAM], "best_of_n", asked, sampling=sampling)
    assert receipt.header.data == {"before": "", "entry": "add", "tests": ["assert add(1, 2) == 3"]}
    assert judge(model, receipt) == ("true", None, None, None)
    data = {**receipt.header.data, "tests": ["assert add(1, 2) == 1"]}
    false = RunReceipt.make(replace(receipt.header, data=data), receipt.entries, receipt.result)
    assert judge(model, false)[0] == "false"


def test_data_that_nothing_reads_are_no_part_of_a_receipt(model):
    data = {"tests": ["assert True"], "level": 5}
    for problem in (
        Problem("p", "Why?", data=data),
        find_task("gsm8k").problem(replace(GSM[0], data=data)),
    ):
        ((_, result),) = solve_all(
            backends_of(model),
            [MethodJob(find("self_consistency"), problem, {"n": 2})],
            sampling={"max_tokens": 9},
            receipt=True,
        )
        receipt = result.receipt
        assert receipt.header.data == {}
        assert judge(model, receipt)[0] == "true"
        for name, value in data.items():
            false = RunReceipt.make(replace(receipt.header, data={name: value}), receipt.entries, receipt.result)
            assert judge(model, false) == ("false", "extra", None, None)


def test_tasks_of_ones_own_are_refused(model):
    class Mine(type(find_task("gsm8k"))):
        """Reads as nobody else does."""

    found = solve_items(backends_of(model), find("self_consistency"), Mine(), GSM[:1], {"n": 1}, receipt=True)
    with pytest.raises(ParameterError, match="an item of a task of this package"):
        next(found)


def test_problems_of_one_name_are_kept_apart(model):
    """Other seeds, other parameters: their texts stand at the same places of their trees."""
    chosen = find("self_consistency")
    problems = [Problem("p", "Why?", seed=seed) for seed in (1, 2)]
    tasks = [MethodJob(chosen, problem, {"n": n}) for problem in problems for n in (2, 3)]
    results = dict(solve_all(backends_of(model), tasks, sampling={"max_tokens": 9, "temperature": 1.0}, receipt=True))
    receipts = [results[number].receipt for number in range(4)]
    assert [(receipt.header.seed, len(receipt.entries)) for receipt in receipts] == [(1, 2), (1, 3), (2, 2), (2, 3)]
    assert [judge(model, receipt)[0] for receipt in receipts] == ["true"] * 4
