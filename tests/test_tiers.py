"""The tiers that a processor could run, those that the extension holds, and how the others are asked for."""

import sys
from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact.executors import native
from intact.executors.base import choose_tier
from intact.executors.native import available_tiers
from support import tiers

SKYLAKE = "avx2 avx512f avx512bw avx512vl avx512dq"
CASCADE_LAKE = f"{SKYLAKE} avx512_vnni"
ICE_LAKE = f"{CASCADE_LAKE} avx512ifma avx512_vbmi2 gfni"
PROCESSORS = {
    "vendor_id : GenuineIntel\nflags : sse2": "",
    f"vendor_id : GenuineIntel\nflags : {SKYLAKE}": "avx2",
    f"vendor_id : GenuineIntel\nflags : {CASCADE_LAKE}": "avx2 avx512",
    f"vendor_id : GenuineIntel\nflags : {ICE_LAKE}": "avx2 avx512 vbmi2",
    f"vendor_id : AuthenticAMD\nflags : {ICE_LAKE}": "avx2 avx512 vbmi2 zen4",
    f"vendor_id : GenuineIntel\nflags : {ICE_LAKE} amx_tile amx_int8": "avx2 avx512 vbmi2 amx",
}


@pytest.mark.parametrize(("facts", "expected"), PROCESSORS.items())
def test_a_processor_could_run_the_tiers_of_its_instructions(
    facts: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(facts + "\n" + facts)  # one paragraph a core
    monkeypatch.setattr(tiers, "PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert tiers.possible_tiers() == {"scalar", *expected.split()}


def test_an_arm_processor_could_run_neon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert tiers.possible_tiers() == {"scalar", "neon"}


def test_all_held_tiers_are_possible() -> None:
    assert set(available_tiers()) <= tiers.possible_tiers()


def test_a_possible_tier_that_is_not_held_fails_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "possible_tiers", lambda: {*available_tiers(), "wider"})
    with pytest.raises(ValueError, match="this processor could run wider, but the extension holds only"):
        tiers.require_tiers("all")
    monkeypatch.setattr(tiers, "possible_tiers", lambda: set(available_tiers()))
    tiers.require_tiers("all")
    with pytest.raises(ValueError, match="must be 'all' or unset, got 'some'"):
        tiers.require_tiers("some")


@pytest.mark.parametrize(("given", "handed_on"), [("all", "all"), ("scalar,avx2", "scalar;avx2"), (" best ", "best")])
def test_the_build_hands_the_variable_on_to_cmake(
    given: str, handed_on: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scikit_build_core", reason="needs the tools of the build: pip install scikit-build-core")
    monkeypatch.setattr(sys, "path", [str(root / "build_backend"), *sys.path])
    import intact_build as build

    monkeypatch.setenv("CXX", "c++")
    monkeypatch.setenv("CMAKE_ARGS", "")
    monkeypatch.setenv("INTACT_TIERS", given)
    monkeypatch.setattr(build, "python_headers", lambda scratch: None)
    with build.toolchain():
        assert build.os.environ["CMAKE_ARGS"] == build.shlex.join([f"-DINTACT_TIERS={handed_on}"])


def test_a_tier_that_was_not_built_is_refused_with_the_command_that_builds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTACT_ISA", "amx")
    message = r"INTACT_ISA is amx, which was not built \(avx2, scalar were\)\..*INTACT_TIERS=all pip install"
    with pytest.raises(ParameterError, match=message):
        choose_tier(["avx2", "scalar"], ["amx", "vbmi2"])
    with pytest.raises(ParameterError, match="a tier that this machine has"):
        choose_tier(["avx2", "scalar"], ["vbmi2"])


def test_nothing_is_missing_where_all_tiers_are_held() -> None:
    assert native.faster_tier() is None or native.faster_tier() in native.missing_tiers()
    assert not set(native.missing_tiers()) & set(available_tiers())
