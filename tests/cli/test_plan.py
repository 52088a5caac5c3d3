"""`intact plan`: the table, JSON, commands to start it, the measured table, and errors before any work."""

from pathlib import Path

import pytest

from intact.measure.planning.machines import read_machines
from support.folders import write_encoder
from support.tiny import write_tiny
from support.variants.encoders import ENCODERS

EXAMPLES = Path(__file__).parents[2] / "examples" / "machines"
THREE = ("--machines", EXAMPLES / "three.toml")


@pytest.fixture
def tiny_path(tmp_path):
    return write_tiny(tmp_path / "tiny.gguf")


def test_a_plan_names_replicas_rates_and_commands(intact_command, tiny_path):
    result = intact_command("plan", "-m", tiny_path, *THREE, "--context", "256")
    assert result.code == 0
    assert "3 replicas on 3 of 3 machines" in result.out
    assert "intact serve MODEL  # on 10.0.0.2:7000" in result.out
    facts = intact_command("plan", "-m", tiny_path, *THREE, "--context", "256", "--json").json
    assert facts["expected"] == pytest.approx(sum(one["expected"] for one in facts["replicas"]))
    assert [rank["machine"] for one in facts["replicas"] for rank in one["ranks"]] == [
        "workstation",
        "laptop",
        "old server",
    ]


def test_one_replica_is_named_in_the_singular(intact_command):
    result = intact_command("plan", "--shape", "llama-8b", *THREE, "--goal", "latency", "--texts", "1")
    assert "1 replica on 1 of 3 machines" in result.out


def test_seventy_billion_weights_on_three_machines_are_cut_and_what_does_not_fit_is_said(intact_command):
    words = ("plan", "--shape", "llama-70b", *THREE, "--texts", "1", "--context", "1024")
    facts = intact_command(*words, "--json").json
    assert {one["way"] for one in facts["replicas"]} <= {"tensor", "pipeline"}
    assert [one["degree"] for one in facts["replicas"]] == [1] or max(one["degree"] for one in facts["replicas"]) > 1
    for one in facts["replicas"]:
        assert all(rank["memory"]["needed"] <= rank["memory"]["has"] for rank in one["ranks"])
    result = intact_command(*words)
    assert "laptop: alone, laptop needs 40." in result.err


@pytest.mark.parametrize(("latency", "rate", "way"), [(50, 1, "pipeline"), (1, 40, "tensor")])
def test_a_cut_plan_prints_shards(intact_command, tmp_path, latency, rate, way):
    small = (EXAMPLES / "three.toml").read_text().replace("memory_gb = 64", "memory_gb = 3")
    small = small.replace("memory_gb = 32", "memory_gb = 3").replace("memory_gb = 16", "memory_gb = 3")
    small = small.replace("latency_us = 50", f"latency_us = {latency}").replace(
        "gbit_per_s = 1", f"gbit_per_s = {rate}"
    )
    file = tmp_path / "small.toml"
    file.write_text(small)
    result = intact_command("plan", "--shape", "llama-8b", "--machines", file, "--texts", "1", "--context", "512")
    assert f", {way} parallel: " in result.out
    assert "intact shard -m MODEL --listen 10.0.0.2:7000" in result.out
    assert f"intact serve MODEL --{way}-parallel here*" in result.out


def test_a_measured_table_is_one_of_a_file_of_machines(intact_command, tiny_path, tmp_path):
    result = intact_command("plan", "-m", tiny_path, "--measure", "--threads", "1")
    assert result.code == 0
    file = tmp_path / "machines.toml"
    file.write_text("[network]\nlatency_us = 50\ngbit_per_s = 1\n\n" + result.out)
    (kind,) = read_machines(file)
    assert 0 < kind.rates.macs + kind.rates.bytes + kind.rates.operation < 1e-2
    assert "1 thread, tiny.gguf" in result.out


def test_an_encoder_has_no_plan(intact_command, tmp_path):
    result = intact_command("plan", write_encoder(tmp_path / "bert", ENCODERS["bert"], "bert"), *THREE)
    assert (result.code, "is an encoder, which generates no text" in " ".join(result.err.split())) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give either MODEL or --shape NAME"),
        (("x.gguf", "--shape", "llama-8b"), "give either MODEL or --shape NAME"),
        (("x.gguf",), "give --machines FILE, or use --measure"),
        (("x.gguf", "--measure", *THREE), "give --machines FILE, or use --measure"),
        (("--shape", "llama-8b", "--measure"), "--measure runs a model"),
        (("x.gguf", *THREE, "--type", "Q8_0"), "--type needs --shape"),
        (("--shape", "lama-8b", *THREE), "did you mean llama-8b"),
        (("--shape", "llama-8b", "--machines", "none.toml"), "none.toml"),
        (("--shape", "llama-8b", *THREE, "--length", "4096"), "length must not exceed context"),
        (
            ("--shape", "llama-8b", *THREE, "--context", "1000000"),
            "--context 1,000,000 is too large: llama-8b in Q4_0 has positions",
        ),
    ],
)
def test_bad_input_is_named(intact_command, words, message):
    result = intact_command("plan", *words)
    assert result.code == 2
    assert message in result.err
