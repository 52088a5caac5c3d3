"""A result has the same bytes where the C library, NumPy's vectors and SciPy are others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import intact
from support.tiny import write_tiny

pytestmark = pytest.mark.slow

EVALUATED = ("gsm8k", "--method", "rpc", "-n", "12", "--max-tokens", "24", "--seed", "0-1", "--threads", "1")
SOLVED = ("solve", "rpc", "What is 2 + 2?", "-n", "12", "--max-tokens", "24", "--threads", "1", "--json")
COMMAND = "import sys; from intact.cli.app import app; app(sys.argv[1:], prog_name='intact')"

# Every elementary function but the square root is off by one unit in the last place, as another library's may be.
ANOTHER_LIBRARY = """
import math, sys
import numpy as np

def off(function, up):
    def another(*arguments, **options):
        value = function(*arguments, **options)
        return up(value) if np.asarray(value).dtype == np.float64 and type(value) is not int else value
    return another

for name in "cbrt cos erf erfc exp exp2 expm1 gamma lgamma log log10 log1p log2 pow sin tan tanh".split():
    setattr(math, name, off(getattr(math, name), lambda value: math.nextafter(value, math.inf)))
for name in "exp exp2 expm1 log log10 log1p log2 logaddexp power tanh".split():
    setattr(np, name, off(getattr(np, name), lambda value: np.nextafter(value, np.inf)))
sys.modules["scipy"] = None
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    (folder / "data" / "gsm8k").mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(4)]
    (folder / "data" / "gsm8k" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_tiny(folder / "tiny.gguf")
    return folder


def run(place, file, before="", **environment):
    """Evaluate and solve in a process of its own: the result file, its trees, and an answer with all its details."""
    environment = {**os.environ, "PYTHONPATH": str(Path(intact.__file__).parents[1]), **environment}
    environment["INTACT_DATA"] = str(place / "data")

    def call(*words):
        command = [sys.executable, "-c", before + COMMAND, *words]
        done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("eval", "tiny.gguf", *EVALUATED, "--out", str(file))
    answer = json.loads(call(*SOLVED, "--model", "tiny.gguf"))
    answer["cost"].pop("seconds")
    return file.read_bytes(), file.with_suffix(".traces.jsonl").read_bytes(), answer


@pytest.fixture(scope="module")
def expected(place, tmp_path_factory):
    return run(place, tmp_path_factory.mktemp("expected") / "run.jsonl")


def test_something_was_fitted_and_measured(expected):
    result, _, answer = expected
    scores = json.loads(result.splitlines()[-1])["scores"]
    assert {score["interval"] for score in scores} >= {"t over problems"}
    assert answer["details"]["mixture"] is not None


def test_another_c_library_and_no_scipy_change_no_byte(place, expected, tmp_path):
    assert run(place, tmp_path / "run.jsonl", ANOTHER_LIBRARY) == expected


def test_a_processor_with_fewer_vectors_changes_no_byte(place, expected, tmp_path):
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if not found:
        pytest.skip("NumPy uses no vectors here beyond its baseline")
    assert run(place, tmp_path / "run.jsonl", NPY_DISABLE_CPU_FEATURES=" ".join(found)) == expected
