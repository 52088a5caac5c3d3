"""`intact solve --task` and `intact sweep` over a cluster of this machine: what one process prints and writes."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from intact._base.errors import ParameterError
from intact.cli.cluster import ClusterOptions
from intact.cli.loading import ModelOptions
from support.clusters import SOURCES
from support.tiny import write_tiny


@pytest.fixture
def run(tmp_path):
    """Run a command, and return what it prints."""
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(12)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    environment = {**os.environ, "PYTHONPATH": SOURCES, "INTACT_DATA": str(tmp_path / "data"), "INTACT_THREADS": "1"}
    environment["RAY_TMPDIR"] = "/tmp"
    environment.pop("RAY_ADDRESS", None)

    def command(*words):
        line = [sys.executable, "-m", "intact.cli", *map(str, words)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return command


def without_times(value):
    """Return a value of JSON without what it says of seconds."""
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name != "seconds"}
    return [without_times(one) for one in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_tasks_problems_solved_on_two_workers_print_what_one_process_prints(run, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    words = ["solve", "self_consistency", "--task", "gsm8k", "-m", write_tiny(tmp_path / "tiny.gguf"), "-n", "3"]
    words += ["--max-tokens", "16", "--budget", "tokens=2k", "--json"]
    receipts = [tmp_path / name for name in ("spread.receipts", "alone.receipts")]
    on_two = ["--ray", "local", "--workers", "2", "--journal", tmp_path / "spread", "--receipt", receipts[0]]
    spread = run(*words, *on_two)
    alone = run(*words, "--journal", tmp_path / "alone", "--receipt", receipts[1])
    assert without_times(json.loads(spread)) == without_times(json.loads(alone))
    assert receipts[0].read_bytes() == receipts[1].read_bytes()
    lines = [(tmp_path / name / "answers.jsonl").read_text().splitlines() for name in ("spread", "alone")]
    first, second = ([without_times(json.loads(line)) for line in several] for several in lines)
    assert first == second
    again = run(*words, "--journal", tmp_path / "spread")  # which knows all texts
    assert without_times(json.loads(again)) == without_times(json.loads(alone))


@pytest.mark.slow
def test_receipts_of_an_evaluation_on_two_workers_have_the_bytes_of_one_process_also_with_all_texts_known(
    run, tmp_path
):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    model = write_tiny(tmp_path / "tiny.gguf")
    words = ["eval", model, "gsm8k", "--method", "self_consistency", "-n", "3", "--max-tokens", "16"]
    cluster = ["--ray", "local", "--workers", "2", "--out", tmp_path / "spread.jsonl"]
    run(*words, *cluster)
    run(*words, *cluster, "--receipt", tmp_path / "spread.receipts")  # along the journal of the first
    run(*words, "--out", tmp_path / "alone.jsonl", "--receipt", tmp_path / "alone.receipts")
    for end in ("jsonl", "receipts"):
        assert (tmp_path / f"spread.{end}").read_bytes() == (tmp_path / f"alone.{end}").read_bytes()
    verdict = json.loads(run("verify", tmp_path / "spread.receipts", "--model", model, "--json"))
    assert verdict["outcome"] == "true"


@pytest.mark.parametrize(("name", "value"), [("tensor_parallel", "2"), ("pipeline_parallel", "2")])
def test_options_of_a_model_in_one_place_are_refused(name, value):
    with pytest.raises(ParameterError, match=f"--{name.replace('_', '-')} cannot be combined with --ray"):
        ClusterOptions("local").check(ModelOptions(**{name: value}))


def test_workers_load_models_as_the_command_does(tmp_path, monkeypatch):
    shipped = {}

    @contextmanager
    def opened_pool(address, shipments, **_):
        shipped.update(shipments)
        yield SimpleNamespace(refused={})

    monkeypatch.setattr("intact.evaluate.cluster.pool.opened_pool", opened_pool)
    path, small = write_tiny(tmp_path / "tiny.gguf"), write_tiny(tmp_path / "small.gguf", seed=1)
    models = ModelOptions(threads=1, weights_memory="64MB", draft_model=str(small))
    with (
        models.opened({"first": str(path), "second": str(path)}, rows=8) as backends,
        ClusterOptions("local").opened(backends, models, rows=8),
    ):
        assert shipped["first"].options == shipped["second"].options | {"weights_memory": "64MB"}
        assert (shipped["second"].options["threads"], shipped["second"].options["rows"]) == (1, 8)
        assert {name: list(shipped[name].models) for name in shipped} == {"first": ["draft_model"], "second": []}
        assert shipped["first"].models["draft_model"].path == small


@pytest.mark.slow
def test_a_draft_model_on_workers_changes_no_byte_of_results_and_receipts(run, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    model, small = write_tiny(tmp_path / "tiny.gguf"), write_tiny(tmp_path / "small.gguf", seed=1)
    words = ["eval", model, "gsm8k", "--method", "self_consistency", "-n", "3", "--max-tokens", "16"]
    cluster = ["--ray", "local", "--workers", "2", "--draft-model", small]
    run(*words, *cluster, "--out", tmp_path / "spread.jsonl", "--receipt", tmp_path / "spread.receipts")
    run(*words, "--out", tmp_path / "alone.jsonl", "--receipt", tmp_path / "alone.receipts")
    for end in ("jsonl", "receipts"):
        assert (tmp_path / f"spread.{end}").read_bytes() == (tmp_path / f"alone.{end}").read_bytes()


@pytest.mark.slow
def test_a_sweep_on_two_workers_writes_the_bytes_of_one_process(run, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    words = ["sweep", "gsm8k", "-m", write_tiny(tmp_path / "tiny.gguf"), "--tokens", "50k", "--max-tokens", "8"]
    words += ["--space", "method=self_consistency", "--space", "n=1,2", "--baseline", "self_consistency:n=3"]
    words += ["--training", "5", "--held-out", "5", "--first", "2"]
    run(*words, "--out", tmp_path / "spread", "--ray", "local", "--workers", "2")
    run(*words, "--out", tmp_path / "alone")
    for name in ("design.json", "sweep.json"):
        assert (tmp_path / "spread" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
