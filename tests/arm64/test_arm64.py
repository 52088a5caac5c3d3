"""A real model on an emulated aarch64 machine gives the bits that it gives here (`scripts/arm64.sh test`)."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import intact
from intact.receipts.document import write_receipts

HERE = Path(__file__).parent
EMULATED = Path(os.environ.get("INTACT_ARM64", "~/.cache/intact-arm64")).expanduser() / "python"


@pytest.fixture
def path(model_path: Callable[[str], Path]) -> Path:
    """A real model, where there is an emulated machine to run it on."""
    path = model_path("smollm2-135m")
    if platform.machine() == "aarch64":
        pytest.skip("this machine is aarch64 itself")
    built = [EMULATED, "-c", "import intact._native"]
    if not EMULATED.exists() or subprocess.run(built, capture_output=True).returncode != 0:
        pytest.skip(f"needs an emulated Python at {EMULATED} that has the package (scripts/arm64.sh build)")
    return path


def told(python: str | Path, script: str, *arguments: Path) -> Any:
    """What a script prints under some Python."""
    command = [python, HERE / script, *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.slow
def test_a_real_model_gives_the_same_tokens_and_log_probabilities(path: Path) -> None:
    here, there = told(sys.executable, "answer.py", path), told(EMULATED, "answer.py", path)
    assert (here["machine"], there["machine"]) == (platform.machine(), "aarch64")
    assert all(each["tokens"] for each in there["answers"])
    assert there["answers"] == here["answers"]


@pytest.mark.slow
def test_a_receipt_made_here_verifies_there(path: Path, tmp_path: Path) -> None:
    model, file = intact.load(path), tmp_path / "answers.receipts"
    asked = {"max_tokens": 12, "temperature": 0.8, "receipt": True}
    true = [model.generate("The capital of France is", seed=seed, **asked)[0][0].receipt for seed in (1, 2)]
    false = replace(true[0], header=true[1].header, chain=true[1].chain)
    write_receipts(file, [*true, false])
    there = told(EMULATED, "verify.py", path, file)
    assert there["machine"] == "aarch64"
    assert [verdict["outcome"] for verdict in there["verdicts"]] == ["true", "true", "false"]
    assert [verdict["checked"] for verdict in there["verdicts"][:2]] == [12, 12]
