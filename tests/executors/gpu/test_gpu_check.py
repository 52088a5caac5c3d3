"""scripts/gpu_check.sh: parts pass on a device in software, and the first difference ends the command by name."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.gpu import device

ROOT = Path(__file__).parents[3]


@pytest.fixture
def check(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("gpu_check")
    for name in ("gpu_check", "common"):
        sys.modules.pop(name, None)


@pytest.fixture
def small(check, monkeypatch):
    """A plan of one format."""
    plan = check.QUICK._replace(programs=1, models=(("small", check.SMALL, ("Q4_0",)),), contexts=(64,))
    monkeypatch.setattr(check, "QUICK", plan)
    return plan


def parts(path):
    return {part["name"]: part for part in json.loads(path.read_text())["parts"]}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_script_compares_then_measures(tmp_path):
    opened = device()
    out = tmp_path / "results.json"
    command = [ROOT / "scripts" / "gpu_check.sh", "--quick", "--out", out]
    done = subprocess.run(
        command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "all equal" in done.stdout
    found = json.loads(out.read_text())
    assert found["adapter"]["name"] == opened.adapter.name
    assert {part["state"] for part in found["parts"]} == {"done"}
    assert parts(out)["conformance programs"]["equal"] == 3
    kinds = [f"small, {kind}" for kind in ("Q4_0", "Q4_K", "Q8_0")]
    speeds = [f"speed, {kind}" for kind in kinds]
    first = ["check at the start", "conformance programs"]
    assert list(parts(out)) == [*first, *(f"equality, {kind}" for kind in kinds), *speeds]
    assert all(parts(out)[name]["one row"]["ms"] > 0 for name in speeds)


def test_a_difference_ends_the_command_by_name(check, small, tmp_path, monkeypatch, capsys):
    device()
    step = check.WgpuExecutor.step

    def wrong(self, chunks, wanted):
        """One logit is wrong in steps of 8 rows."""
        got = step(self, chunks, wanted).copy()
        got[-1, 5] += len(wanted) == 8
        return got

    monkeypatch.setattr(check.WgpuExecutor, "step", wrong)
    out = tmp_path / "results.json"
    assert check.main(["--quick", "--out", str(out)]) == 1
    assert "equality, small, Q4_0: 8 rows: 1 of 4,096 logits differ" in capsys.readouterr().err
    assert list(parts(out))[-1] == "equality, small, Q4_0"
    assert parts(out)["equality, small, Q4_0"]["state"] == "different"


def test_a_program_that_differs_is_named(check, monkeypatch):
    monkeypatch.setattr(check, "compare_programs", lambda _: iter([("a", "equal"), ("b", "different"), ("c", "equal")]))
    with pytest.raises(check.DifferenceError, match="the program 'b' differs"):
        check.check_programs(None)
    assert check.check_programs(1) == {"equal": 1, "refused": 0}


def test_a_part_is_written_before_it_ends(check, tmp_path):
    path = tmp_path / "results.json"
    results = check.Results(path, {})
    with results.part("first"):
        assert parts(path)["first"]["state"] == "running"
    with pytest.raises(KeyError), results.part("second"):
        raise KeyError("x")
    assert [part["state"] for part in parts(path).values()] == ["done", "failed"]


def test_a_text_repeats_the_pages_of_its_prompt(check):
    assert np.array_equal(check.repeated(160, 2), [0, 1, 0, 1, 0, 2])


def test_rows_of_the_full_check_fit_its_prompt(check):
    for plan in (check.QUICK, check.FULL):
        assert sum(plan.rows) <= plan.prompt
        assert plan.prompt % check.PAGE == 0
        assert all(context % check.PAGE == 0 for context in plan.contexts)
        assert all(shape.layers == 1 for _, shape, _ in plan.models)
