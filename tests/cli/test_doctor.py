"""``intact doctor`` says what works here and what would help."""

import pytest

from intact.cli import doctor, fetch
from intact.executors import native
from intact.tools.sandbox import Protection


def test_json_tells_everything(intact_command):
    facts = intact_command("doctor", "--json").json
    assert {
        "version",
        "numerics_version",
        "tier",
        "threads",
        "memory",
        "sandbox",
        "models",
        "data",
        "libraries",
        "missing_extras",
    } <= set(facts)
    assert set(facts["sandbox"]) == {"protection", "filtered", "missing"}


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (Protection("bubblewrap", True), "by bubblewrap and a filter on system calls"),
        (Protection("seccomp", True, "bwrap is not installed"), "by seccomp (bwrap is not installed)"),
        (Protection("none", False, "nothing here"), "refused: nothing here"),
    ],
)
def test_the_protection_in_force_is_named(intact_command, monkeypatch, guard, words):
    monkeypatch.setattr("intact.tools.sandbox.protection", lambda: guard)
    assert words in " ".join(intact_command("doctor").out.split())


def test_missing_extras_and_data_are_named(intact_command, monkeypatch, tmp_path):
    requirements = [
        "numpy>=1.26",
        "no-such-thing>=2; extra == 'reason'",
        "rich; extra == 'x'",
        "nothing-either; extra == 'dev'",
    ]
    monkeypatch.setattr(doctor, "_requirements", lambda: requirements)
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "nowhere"))
    facts = intact_command("doctor", "--json").json
    assert facts["missing_extras"] == {"reason": ["no-such-thing"]}
    assert facts["data"] == {"folder": str(tmp_path / "nowhere"), "present": False}
    text = " ".join(intact_command("doctor").out.split())
    assert "reason (needs no-such-thing)" in text
    assert "nowhere is absent" in text.replace("\n", "")


def test_a_faster_tier_that_is_missing_is_named_by_doctor_and_once_by_the_first_load(
    intact_command, monkeypatch, tmp_path, capsys
):
    monkeypatch.delenv("INTACT_ISA", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "faster_tier", lambda: None)
    fetch._note_faster_tier()
    assert "was not built" not in capsys.readouterr().err + intact_command("doctor").out
    monkeypatch.setattr(native, "faster_tier", lambda: "amx")
    sentence = "This processor has amx, which is faster than"
    assert sentence in " ".join(intact_command("doctor").out.split())
    assert sentence in " ".join(intact_command("info").out.split())
    capsys.readouterr()
    fetch._note_faster_tier()
    assert sentence in capsys.readouterr().err
    fetch._note_faster_tier()
    assert not capsys.readouterr().err
