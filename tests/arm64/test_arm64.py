"""A real model on an emulated aarch64 machine gives the bits that it gives here (`scripts/arm64.sh test`)."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
EMULATED = Path(os.environ.get("INTACT_ARM64", "~/.cache/intact-arm64")).expanduser() / "python"


@pytest.mark.slow
def test_a_real_model_gives_the_same_tokens_and_log_probabilities(model_path: Callable[[str], Path]) -> None:
    path = model_path("smollm2-135m")
    if platform.machine() == "aarch64":
        pytest.skip("this machine is aarch64 itself")
    built = [EMULATED, "-c", "import intact._native"]
    if not EMULATED.exists() or subprocess.run(built, capture_output=True).returncode != 0:
        pytest.skip(f"needs an emulated Python at {EMULATED} that has the package (scripts/arm64.sh build)")

    def answer(python: str | Path) -> Any:
        return json.loads(subprocess.run([python, HERE / "answer.py", path], stdout=subprocess.PIPE, check=True).stdout)

    here, there = answer(sys.executable), answer(EMULATED)
    assert (here["machine"], there["machine"]) == (platform.machine(), "aarch64")
    assert all(each["tokens"] for each in there["answers"])
    assert there["answers"] == here["answers"]
