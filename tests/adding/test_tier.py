"""The recipe for a tier: two files and a list; what the list lacks is an error when it is built."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from support.adding import build_native, copy_native, edit_files, follow, need_build_tools, run_python

HEADING = "A tier"
USE = """
from intact import _native
from intact.measure.conformance import EXPECTED, make_executor, make_kernels, operations_digest
print(_native.kernels.tiers(), _native.fp32.tiers())
_native.Model("fp32", "loops", 1, 1, 1, 16, 16, False)
print(operations_digest(make_kernels("native", "loops"), make_executor("native", "loops")) == EXPECTED["operations"])
"""


@pytest.mark.slow
def test_the_recipe_adds_a_tier_of_the_same_bits(tmp_path: Path) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the page's example is a tier for x86-64")
    need_build_tools()
    root = follow(HEADING, tmp_path, files=2)
    copy_native(root)
    edit_files(HEADING, root)
    build_native(root, "scalar;loops")
    tiers, digest = run_python(USE, root).splitlines()
    assert tiers == "['loops', 'scalar'] ['loops']"
    assert digest == "True"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("intact_tier(lost SETS avx2)", "Tier lost of cmake/Tiers.cmake needs its kernels"),
        ("intact_tier(lost FP32 nothing)", "cmake/Tiers.cmake has no tier nothing"),
    ],
)
def test_a_tier_without_kernels_is_refused_when_it_is_configured(tmp_path: Path, listed: str, message: str) -> None:
    need_build_tools()
    copy_native(tmp_path)
    path = tmp_path / "cmake/Tiers.cmake"
    path.write_text(path.read_text().replace("intact_tier(scalar)", f"intact_tier(scalar)\n{listed}"))
    command = [
        "cmake",
        "-G",
        "Ninja",
        "-S",
        tmp_path,
        "-B",
        tmp_path / "build",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())
