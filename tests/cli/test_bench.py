"""``intact bench``."""

from xml.etree import ElementTree

import pytest
from rich.console import Console

import intact.measure.bench.profile as profiling
from intact.cli.bench import digits, save_plot, scale, table
from intact.measure.bench.speed import Measurement
from support.tiny import write_tiny

FIGURES = [
    Measurement("prompt", "prompt of 512", "", "tokens/s", (1720.0, 1700.0, 1800.0)),
    Measurement("stream", "one stream", "", "tokens/s", (430.0,)),
    Measurement("forks", "forks", "to fork", "s", (0.00134, 0.00131, 0.0015)),
    Measurement("forks", "forks", "memory", "B", (289_000.0,)),
]


@pytest.fixture
def tiny_path(tmp_path):
    return write_tiny(tmp_path / "tiny.gguf", context=1024)


def shown(figures, width):
    console = Console(width=100, record=True, color_system=None, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table(figures, width))
    return console.export_text()


def test_the_command_prints_both_forms(intact_command, tiny_path):
    result = intact_command(
        "bench", "-m", tiny_path, "--only", "prompt", "--only", "forks", "--repeats", "1", "--threads", "1"
    )
    assert result.code == 0
    assert "1 threads; median of 1" in result.out
    assert "prompt of 512" in result.out
    assert "to drop" in result.out
    assert result.err == ""
    facts = intact_command("bench", "-m", tiny_path, "--only", "prompt", "--repeats", "2", "--json").json
    assert [one["what"] for one in facts["figures"]] == ["prompt of 128", "prompt of 512", "prompt of 1000"]
    figure = facts["figures"][0]
    assert (figure["group"], figure["unit"], len(figure["values"])) == ("prompt", "tokens/s", 2)
    assert figure["least"] <= figure["median"] <= figure["most"]
    assert facts["executor"]["threads"] >= 1


def test_the_profile_tells_operations_and_the_share_of_python(intact_command, tiny_path):
    only = ("--only", "prompt", "--only", "forks", "--repeats", "1", "--profile")
    result = intact_command("bench", "-m", tiny_path, *only)
    assert result.code == 0
    assert "step" in result.out
    assert "Python" in result.out
    assert "ffn_down" in result.out
    assert "limits measured: " in result.out
    facts = intact_command("bench", "-m", tiny_path, *only, "--json").json
    [found] = facts["profiles"]
    assert found["what"] == "prompt of 1000"
    assert {"linear", "attention"} <= {operation["kind"] for operation in found["operations"]}
    assert facts["limits"]["macs"] > 0


def test_the_profiled_runs_compute_every_row_of_their_prompts(intact_command, tiny_path, monkeypatch):
    rows = []

    def counted(model, workload, passage):
        before = model.executor.counters["rows"]
        found = profile(model, workload, passage)
        rows.append(model.executor.counters["rows"] - before)
        return found

    profile = profiling.profile
    monkeypatch.setattr(profiling, "profile", counted)
    intact_command("bench", "-m", tiny_path, "--only", "prompt", "--repeats", "1", "--profile")
    assert rows == [2 * 1000]


def test_the_table_shows_medians_spreads_and_bars():
    text = shown(FIGURES, 16)
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert lines[2][:8] == ["prompt", "of", "512", "1,720", "tokens/s", "1,700", "to", "1,800"]
    assert lines[2][8] == "█" * 16
    assert lines[3][-1] == "████"
    assert lines[4] == ["forks"]
    assert lines[5] == ["to", "fork", "1.34", "ms", "1.31", "to", "1.50"]
    assert lines[6] == ["memory", "289", "kB", "289", "to", "289"]
    assert "█" not in shown(FIGURES, 0)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1720.4, "tokens/s", "1,720 tokens/s"),
        (49.26, "tokens/s", "49.3 tokens/s"),
        (99.96, "tokens/s", "100 tokens/s"),
        (0.0123, "s", "12.3 ms"),
        (0.0000042, "s", "4.20 µs"),
        (2.5, "s", "2.50 s"),
        (0, "s", "0 µs"),
        (1_117_000_000, "B", "1.12 GB"),
        (800, "B", "800 B"),
        (0, "", "0 "),
    ],
)
def test_quantities_have_three_digits(value, unit, expected):
    factor, name = scale(value, unit)
    assert f"{digits(value * factor)} {name}" == expected


def test_what_the_context_has_no_room_for_is_left_out_and_said(intact_command, tmp_path):
    path = write_tiny(tmp_path / "short.gguf", context=200)
    result = intact_command("bench", "-m", path, "--only", "forks", "--only", "samples", "--repeats", "1")
    assert "left out: 8 x 128 after a prompt of 512 (640 positions, the context has 200)" in result.err
    assert "fork" not in result.out
    assert "8 x 32 after a prompt of 64" in result.out


def test_a_plot_has_a_bar_a_rate(tmp_path):
    pytest.importorskip("matplotlib", reason="draws")
    path = tmp_path / "speed.svg"
    save_plot(FIGURES, path, "tiny")
    text = path.read_text()
    assert text.count("<!-- 1,720 -->") == text.count("<!-- 430 -->") == 1
    assert "memory" not in text


@pytest.mark.parametrize("title", ["a\x1b[31mb\x00", "a\udcffb"])
def test_a_plot_holds_no_control_characters(tmp_path, title):
    pytest.importorskip("matplotlib", reason="draws")
    save_plot(FIGURES, tmp_path / "speed.svg", title)
    text = (tmp_path / "speed.svg").read_text("utf-8")
    assert "a\ufffd" in text
    ElementTree.fromstring(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "speed"), "no workload named 'speed': expected one of prompt, stream, samples, forks, mixed"),
        (("--repeats", "0"), "Invalid value for '--repeats'"),
        (("--plot", "x.tale"), "--plot"),
        (("--plot", "nowhere/x.png"), "--plot"),
    ],
)
def test_impossible_options_are_refused_before_anything_runs(intact_command, speaker, options, message):
    result = intact_command("bench", *options)
    assert result.code == 2
    assert message in result.err
    assert speaker.loaded == []
