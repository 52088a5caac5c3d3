"""The integer kernels built for aarch64 hold no floating-point arithmetic either (`scripts/arm64.sh test`)."""

import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from support.disassembly import FLOAT_OBJECTS, KERNELS, Disassembly, floats_of_object, is_float

OBJECTS = Path(__file__).parents[2] / "build/arm64/CMakeFiles/_native.dir/native"

EMULATED = Path(os.environ.get("INTACT_ARM64", "~/.cache/intact-arm64")).expanduser() / "python"
OBJDUMP = "aarch64-linux-gnu-objdump"
PROGRAM = """
import json, pathlib
from intact import _native as native
maps = [line.split() for line in pathlib.Path("/proc/self/maps").read_text().splitlines()]
library = str(pathlib.Path(native.__file__).resolve())
base = min(int(fields[0].split("-")[0], 16) for fields in maps if fields[-1] == library)
tiers = native.kernels.tiers()
entries = {tier: {n: at - base for n, at in native.kernels.entry_points(tier).items()} for tier in tiers}
print(json.dumps([native.__file__, entries]))
"""


def test_no_object_for_aarch64_but_those_of_the_fp32_profile_computes_in_floating_point() -> None:
    if platform.machine() == "aarch64":
        pytest.skip("this machine is aarch64 itself: tests/native/test_no_float.py looks")
    if shutil.which(OBJDUMP) is None:
        pytest.skip(f"needs {OBJDUMP}, of Debian's package binutils-aarch64-linux-gnu")
    units = {path.name.removesuffix(".cpp.o"): path for path in OBJECTS.rglob("*.cpp.o")}
    if not units:
        pytest.skip(f"needs the objects in {OBJECTS} (scripts/arm64.sh build)")
    assert units.keys() >= {"tier_neon", "tier_scalar", "run_int8", "attend", "convert"}
    found = {unit: floats_of_object(path, unit, "aarch64", OBJDUMP) for unit, path in units.items()}
    assert {unit: floats for unit, floats in found.items() if floats and not FLOAT_OBJECTS.fullmatch(unit)} == {}
    assert found["tier_neon_fp32"]


def test_kernels_for_aarch64_compute_in_integers_only() -> None:
    if platform.machine() == "aarch64":
        pytest.skip("this machine is aarch64 itself: tests/native/test_no_float.py looks")
    if shutil.which(OBJDUMP) is None:
        pytest.skip(f"needs {OBJDUMP}, of Debian's package binutils-aarch64-linux-gnu")
    result = EMULATED.exists() and subprocess.run([EMULATED, "-c", PROGRAM], capture_output=True, text=True)
    if not result or result.returncode:
        pytest.skip(f"needs an emulated Python at {EMULATED} that has the package (scripts/arm64.sh build)")
    library, entries = json.loads(result.stdout)
    code = Disassembly(Path(library), "aarch64", OBJDUMP)
    assert {"fmul", "fadd", "fdiv"} <= {i.mnemonic for i in code.instructions}
    assert entries.keys() == {"neon", "scalar"}
    everything = set()
    for tier, at in entries.items():
        reached, _ = code.reach(at[name] for name in KERNELS)
        assert len(reached) > 5000
        assert not sorted({i.mnemonic for i in reached if is_float(i.mnemonic, "aarch64")}), tier
        everything |= {i.address for i in reached}
    # The products of bytes that matrices are multiplied by: none lies elsewhere.
    assert {i.address for i in code.instructions if i.mnemonic == "sadalp"} <= everything
