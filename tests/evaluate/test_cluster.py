"""An evaluation on the workers of a Ray cluster: one of them dies, and the bytes are those of one machine."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import intact
from intact._base.errors import WorkerError
from intact.engine.draft.draft_model import DraftModel
from intact.evaluate import on_cluster as cluster
from intact.evaluate.cluster.models import CHUNK, FileServer, receive, ship
from intact.evaluate.cluster.worker import Resources, Worker
from support.tiny import write_tiny

MORTAL = '''
import os
import signal
from pathlib import Path

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect


@method("mine", temperature=0.7)
def mortal(problem: Problem, *, n: int = 4) -> Steps:
    """Vote; but the first who meets the third problem dies of it.

    Parameters
    ----------
    n : int
        Samples.
    """
    samples = yield [Extend(problem.start)] * n
    died = Path(__file__).with_suffix(".died")
    if problem.id.endswith("/2") and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return elect(problem, samples)
'''


@pytest.mark.slow
def test_two_workers_of_which_one_dies_give_the_bytes_of_one_machine(tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(6)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = write_tiny(tmp_path / "tiny.gguf")
    (tmp_path / "mine.py").write_text(MORTAL)
    environment = {**os.environ, "PYTHONPATH": str(Path(intact.__file__).parents[1]), "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"INTACT_DATA": str(tmp_path / "data"), "INTACT_THREADS": "1", "RAY_TMPDIR": "/tmp"}
    environment.pop("RAY_ADDRESS", None)

    def run(name, *options):
        words = ["eval", str(model), "gsm8k", "--method", f"{tmp_path / 'mine.py'}:mortal", "--max-tokens", "16"]
        words += ["--out", str(tmp_path / name), *options]
        done = subprocess.run(
            [sys.executable, "-m", "intact.cli", *words], env=environment, capture_output=True, timeout=300
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return (tmp_path / name).read_bytes(), (tmp_path / name).with_suffix(".traces.jsonl").read_bytes()

    died = tmp_path / "mine.died"
    spread = run("spread.jsonl", "--ray", "local", "--workers", "2")
    assert died.exists()
    assert run("alone.jsonl") == spread


def test_a_worker_that_would_state_something_else_says_what():
    told = {"models": [{"numerics": "1"}], "seeds": [0]}
    assert cluster.difference(told, dict(told)) == ""
    refusal = cluster.difference(told, {"models": [{"numerics": "2"}], "seeds": [0]})
    assert refusal == "it would compute something else: models is [{'numerics': '2'}]"


def test_a_model_is_pulled_once_by_its_digest(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    data = bytes(range(256)) * (CHUNK // 200)
    (tmp_path / "model.gguf").write_bytes(data)
    shipped = ship(tmp_path / "model.gguf", {"threads": 1})
    assert receive(shipped, pytest.fail) == tmp_path / "model.gguf"
    away, asked = replace(shipped, path=tmp_path / "elsewhere" / "model.gguf"), []

    def read(number, start):
        asked.append(start)
        return shipped.read(number, start)

    place = receive(away, read)
    assert hashlib.sha256(place.read_bytes()).digest() == hashlib.sha256(data).digest()
    assert asked == [0, CHUNK]
    assert receive(away, pytest.fail) == place
    place.unlink()
    with pytest.raises(WorkerError, match=r"model.gguf was transferred with the digest"):
        receive(away, lambda number, start: b"\0" * min(CHUNK, len(data) - start))
    assert not any(file.is_file() and file.suffix != ".lock" for file in place.parent.rglob("*"))


def test_a_draft_model_goes_along_by_its_digest_and_guesses_on_the_worker(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    model, small = write_tiny(tmp_path / "tiny.gguf"), write_tiny(tmp_path / "small.gguf")
    shipped = {"main": ship(model, {"threads": 1, "drafter": "model"}, {"draft_model": small})}
    other = shipped["main"].models["draft_model"]
    files = FileServer(shipped)
    pulled = receive(
        replace(other, path=tmp_path / "elsewhere" / "small.gguf"),
        lambda number, start: files.read(("main", "draft_model"), number, start),
    )
    assert pulled.read_bytes() == small.read_bytes()
    worker = Worker(Resources(shipped, None))
    worker.load()
    (backend,) = worker._backends().values()
    with intact.load(model, threads=1, drafter="off") as alone:
        for temperature in (0, 0.8):
            asked = {"n": 2, "temperature": temperature, "max_tokens": 24}
            drafted, plain = (intact.solve(one, "self_consistency", "Why?", **asked) for one in (backend, alone))
            assert [node["text"] for node in drafted.trace["nodes"]] == [node["text"] for node in plain.trace["nodes"]]
    assert isinstance(backend.model.engine.drafting.drafter, DraftModel)


def test_a_full_disk_is_named_with_the_file_and_the_folder_and_nothing_is_left(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource", reason="needs limits of POSIX")
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    (tmp_path / "model.gguf").write_bytes(bytes(100_000))
    shipped = ship(tmp_path / "model.gguf", {})
    away = replace(shipped, path=tmp_path / "elsewhere" / "model.gguf")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(WorkerError, match=r"model.gguf cannot be stored in .*by-digest.*after 0 of 100,000 bytes"):
            receive(away, shipped.read)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not any(file.is_file() and file.suffix != ".lock" for file in (tmp_path / "home").rglob("*"))
    assert receive(away, shipped.read).read_bytes() == bytes(100_000)


def test_of_a_model_of_several_files_those_that_are_missing_are_pulled(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_text(f"the file {name}")
    shipped = ship(tmp_path / "model", {"threads": 1})
    away = replace(shipped, path=tmp_path / "elsewhere" / "model")
    place = receive(away, shipped.read)
    (place / "model.safetensors").unlink()
    pulled = []

    def read(number, start):
        pulled.append(shipped.files[number].name)
        return shipped.read(number, start)

    assert receive(away, read) == place
    assert pulled == ["model.safetensors"]
    assert (place / "model.safetensors").read_text() == "the file model.safetensors"
