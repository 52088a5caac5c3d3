"""Every method and every scorer there is has a receipt that is found true, whatever it asks for."""

from dataclasses import replace
from inspect import isgeneratorfunction

import pytest

import intact
from intact.reason.parts.choice import Arm, Policy, pilot_arm
from intact.reason.registry import all_methods
from intact.reason.testing.small import SMALL
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.verify import verify_run
from intact.tasks.score.scorers import SCORERS
from intact.tools.sandbox import protection
from support.tiny import write_tiny

METHODS = all_methods()
ELSEWHERE = ("value", "next_value", "prefix_value", "unit_tests", "self_certainty")
"""Scorers that need a file, tests or likeliest tokens: test_models, test_tasks, test_likeliest."""
DIALOGUE = (("system", "You lie."), ("user", "What is 1 + 1?"), ("assistant", "3"))
"""What was never said."""
LITTLE = SMALL | {"nudger": "large", "delimiter": "e", "end": "e", "vocabulary": 301, "seconds": 60.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    files = {
        name: write_tiny(folder / f"{name}.gguf", seed=seed, context=4096)
        for seed, name in enumerate(("main", "large"))
    }
    return {name: intact.load(file, threads=1) for name, file in files.items()}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_is_proved(models, name, tmp_path):
    if "programs" in METHODS[name].uses and protection().kind == "none":
        pytest.skip("nothing here keeps programs in")
    given = {
        parameter.name: LITTLE[parameter.name] for parameter in METHODS[name].parameters if parameter.name in LITTLE
    }
    if name == "compute_optimal":
        arms = (Arm.of("uct_search", {"simulations": 3}), Arm.of("first_finish", {"n": 3}), pilot_arm(3))
        Policy(3, (0.5, 0.9), arms).write(tmp_path / "table.json")
        given["table"] = str(tmp_path / "table.json")
    given = {"max_tokens": 12, **given}
    result = intact.solve(models, name, "What is 2 + 2?", temperature=1.0, receipt=True, **given)
    assert result.why == "done", result.error
    receipt = RunReceipt.parse(result.receipt.encode())
    verdict = verify_run(models["main"], receipt, others={"large": models["large"]})
    assert (verdict.outcome, verdict.what, verdict.checked) == ("true", None, receipt.count), verdict.detail
    asked = receipt.header.prompt
    for lie in ((*DIALOGUE, *asked), (*asked[:-1], ("user", f"{asked[-1][1]} Or 3 + 3?"))):
        forged = RunReceipt.make(replace(receipt.header, prompt=lie), receipt.entries, receipt.result)
        assert verify_run(models["main"], forged, others={"large": models["large"]}).outcome == "false"


@pytest.mark.parametrize("form", ["tree_of_thoughts", "rebase", "select"])
def test_a_run_whose_method_calls_others_is_proved(models, form):
    given = {"form": form, "n": 2, "children": 2, "width": 2, "verifier": "large", "max_tokens": 12}
    result = intact.solve(models, "plangen", "What is 2 + 2?", temperature=1.0, receipt=True, **given)
    assert result.why == "done", result.error
    verdict = verify_run(models["main"], result.receipt, others={"large": models["large"]})
    assert (verdict.outcome, verdict.checked) == ("true", result.receipt.count), verdict.detail


@pytest.mark.parametrize("scorer", sorted(set(SCORERS.own) - {"reward", *ELSEWHERE}))
def test_a_scorer_is_proved(models, scorer):
    """In the middle of texts, at their ends, and by the second model where one is asked."""
    name = f"{scorer}:large" if isgeneratorfunction(SCORERS[scorer].score) else scorer
    asked = {"scorer": name, "n": 4, "width": 2, "steps": 2, "delimiter": "e", "max_tokens": 12, "temperature": 1.0}
    receipt = intact.solve(models, "beam_search", "What is 2 + 2?", receipt=True, **asked).receipt
    assert any(getattr(entry, "scorer", None) == scorer for entry in receipt.entries)
    verdict = verify_run(models["main"], receipt, others={"large": models["large"]})
    assert (verdict.outcome, verdict.checked) == ("true", receipt.count), verdict.detail
