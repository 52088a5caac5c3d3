"""`intact tune`: the table, the verdict, the picture, and what is kept."""

import pytest

from intact.cli.tune import verdict
from intact.measure.bench.tuned import Settings
from intact.measure.bench.tuning import Ratio, TimedSettings, TuneWorkload, Tuning
from support.tiny import write_tiny

pytest.importorskip("optuna", reason="needs Optuna: pip install '.[tune]'")
SHORT = ("--prompt", "20", "--answer", "6", "--trials", "3")
DEFAULTS, OTHER = Settings(2, 512, 256, "auto"), Settings(2, 64, 32, "off")


@pytest.fixture
def tiny_path(tmp_path):
    return write_tiny(tmp_path / "tiny.gguf")


def test_the_command_searches_draws_and_forgets(intact_command, tiny_path, tmp_path):
    picture = tmp_path / "landscape.png"
    result = intact_command("tune", "-m", tiny_path, *SHORT, "--plot", picture)
    assert result.code == 0
    assert "times as fast" in result.out
    assert "defaults" in result.out
    assert picture.read_bytes()[:4] == b"\x89PNG"
    facts = intact_command("tune", "-m", tiny_path, *SHORT, "--no-save", "--json").json
    assert facts["kept"] is None
    assert facts["workload"] == {"prompt": 20, "answer": 6, "samples": 1, "clients": 1}
    assert {trial["settings"]["drafter"] for trial in facts["trials"]} >= {"off"}
    assert intact_command("tune", "-m", tiny_path, "--forget").code == 0
    assert intact_command("tune", "-m", tiny_path, "--forget", "--json").json == {
        "model": str(tiny_path),
        "dropped": False,
    }
    assert "no settings were saved" in intact_command("tune", "-m", tiny_path, "--forget").out


def test_bad_input_is_named_before_anything_runs(intact_command, tiny_path, monkeypatch):
    result = intact_command("tune", "-m", tiny_path, "--prompt", "5000")
    assert result.code == 2
    assert "exceed the context of 512" in result.err
    assert "must end with one of" in intact_command("tune", "-m", tiny_path, "--plot", "x.docx").err
    monkeypatch.setattr("intact._base.packages._importable", lambda name: name != "optuna")
    assert "intact tune needs optuna: pip install" in intact_command("tune", "-m", tiny_path).err


@pytest.mark.parametrize(
    ("best", "ratio", "said"),
    [
        (OTHER, Ratio(1.2, 1.1, 1.3, 15), "drafter off: 1.200 times (1.100 to 1.300 at 95%) as fast"),
        (OTHER, Ratio(1.02, 0.99, 1.05, 15), "No significant gain: the best candidate"),
        (DEFAULTS, Ratio(1.0, 1.0, 1.0, 0), "None of 1 candidates was faster than the defaults"),
    ],
)
def test_the_verdict_says_what_is_gained(best, ratio, said):
    trials = (TimedSettings(OTHER, Ratio(1.3, 0.9, 1.9, 3)),)
    assert said in verdict(Tuning(TuneWorkload(), DEFAULTS, trials, best, ratio, 1.0))
