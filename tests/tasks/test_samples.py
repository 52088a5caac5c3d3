"""Samples that come with the package, and the full sets that are fetched by name."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import intact
from intact._base.errors import FormatError, ParameterError
from intact.checkpoints.download import fetch_from_github
from intact.tasks.choose import available, choose
from intact.tasks.data import SAMPLE_SIZE, SAMPLES, fetched_folder, find_file, name_of, read_rows, row_place
from intact.tasks.task import TASKS
from support.problems import ROWS, full_set, nothing_here, upstream

UPSTREAM = {name: kind.upstream for name, kind in TASKS.working().items() if kind.upstream}
SAMPLED = ("gsm8k", "humaneval", "mbpp", "svamp")


@pytest.fixture(autouse=True)
def github(tmp_path, monkeypatch):
    """Nothing is here; a server has GSM8K's files."""
    with nothing_here(tmp_path, monkeypatch) as server:
        yield server


@pytest.mark.parametrize("name", SAMPLED)
def test_a_task_without_its_full_set_is_asked_on_its_sample_which_its_label_names(name):
    assert available(name) == f"{name}:sample={SAMPLE_SIZE}"
    chosen = choose(available(name))
    items = chosen.load()
    assert (chosen.label, len(items)) == (f"{name}:sample={SAMPLE_SIZE}", SAMPLE_SIZE)
    assert len(chosen.load(3)) == 3
    assert available(chosen.label) == chosen.label


def test_a_full_set_of_ones_own_comes_first_then_a_fetched_one_then_the_sample(tmp_path, monkeypatch):
    assert available("gsm8k:shots=1") == f"gsm8k:shots=1,sample={SAMPLE_SIZE}"
    full_set(fetched_folder())
    assert available("gsm8k:shots=1") == "gsm8k:shots=1"
    assert len(choose("gsm8k").load()) == SAMPLE_SIZE + 20
    monkeypatch.setenv("INTACT_DATA", str(tmp_path / "data"))
    full_set(tmp_path / "data")
    assert find_file("gsm8k/test.jsonl") == tmp_path / "data" / "gsm8k" / "test.jsonl"


def test_the_sample_is_asked_where_it_is_named_though_the_full_set_is_here():
    full_set(fetched_folder())
    sample, full = choose(f"gsm8k:sample={SAMPLE_SIZE}"), choose("gsm8k")
    assert sample.label != full.label
    assert sample.load(1) != full.load(1)


def test_nothing_but_the_name_of_a_command_takes_the_sample_for_the_full_set():
    with pytest.raises(ParameterError, match=r"does not exist: .*gsm8k --fetch.*, or take gsm8k:sample=100$"):
        choose("gsm8k").load()


def test_a_split_that_the_sample_lacks_says_what_to_fetch():
    assert available("gsm8k:split=train") == "gsm8k:split=train"
    with pytest.raises(
        ParameterError, match=r"train.jsonl does not exist: `intact tasks gsm8k --fetch` fetches it from "
    ):
        choose("gsm8k:split=train").load()
    with pytest.raises(ParameterError, match="gsm8k has no sample of the split train in this package"):
        choose("gsm8k:split=train,sample=100")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("math500:sample=100", "math500 takes no 'sample'"),
        ("procbench:sample=100", "procbench takes no 'sample'"),
        ("gsm8k:sample=50", "the sample has 100 problems, so sample must be 100, got 50"),
        ("gsm8k:sample=all", "sample must be a value such as 0, got 'all'"),
    ],
)
def test_a_sample_that_there_is_not_is_refused(text, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        choose(text)


def test_samples_are_the_first_problems_of_the_full_sets(data_dir):
    for path in SAMPLES.rglob("*.gz"):
        full = data_dir / path.relative_to(SAMPLES).with_suffix("")
        assert read_rows(path) == read_rows(full)[:SAMPLE_SIZE], path
        assert gzip.decompress(path.read_bytes()) in full.read_bytes()


def test_samples_are_small_state_their_licences_and_hold_no_time():
    paths = sorted(SAMPLES.rglob("*.gz"))
    assert {path.relative_to(SAMPLES).with_suffix("").as_posix() for path in paths} == {
        next(iter(TASKS[name].files.values())) for name in SAMPLED
    }
    assert sum(path.stat().st_size for path in paths) < 1_000_000
    stated = (SAMPLES / "LICENSES").read_text()
    for path in paths:
        line = next(line for line in stated.splitlines() if path.relative_to(SAMPLES).as_posix() in line)
        assert "MIT, Copyright (c)" in line or "CC BY 4.0" in line
        assert path.read_bytes()[3:8] == bytes(5), "no name and no time"
    assert "THE SOFTWARE IS PROVIDED" in stated


def test_a_compressed_file_is_read_like_a_plain_one(tmp_path):
    for name, content in (
        ("a.jsonl", b'{"a": 1}\r\n\n{"a": 2}'),
        ("a.json", b'[{"a": 1}, {"a": 2}]'),
        ("a.csv", b"a\n1\n2"),
    ):
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        assert read_rows(tmp_path / f"{name}.gz") == read_rows(tmp_path / name)
        assert row_place(tmp_path / f"{name}.gz", 1) == row_place(tmp_path / name, 1)
    assert name_of(SAMPLES / "svamp" / "test.jsonl.gz") == "samples/svamp/test.jsonl.gz"
    for damaged in (b"no gzip", gzip.compress(b'{"a": 1}')[:-9]):
        (tmp_path / "b.jsonl.gz").write_bytes(damaged)
        with pytest.raises(FormatError, match=r"b\.jsonl\.gz cannot be read"):
            read_rows(tmp_path / "b.jsonl.gz")


def test_a_damaged_file_in_the_cache_is_fetched_again(github):
    target = fetched_folder() / "test.jsonl"
    fetch_from_github(upstream(), target)
    target.write_bytes(b"damaged")
    assert fetch_from_github(upstream(), target).fresh
    assert target.read_bytes() == ROWS


def test_an_interrupted_fetch_goes_on_where_it_stopped(github, monkeypatch):
    from huggingface_hub import constants

    def interrupt(stage, done, total):
        if done >= 2_000:
            raise KeyboardInterrupt

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)
    target = fetched_folder() / "test.jsonl"
    with pytest.raises(KeyboardInterrupt):
        fetch_from_github(upstream(), target, interrupt)
    (partial,) = fetched_folder().glob(".test.jsonl.*.partial")
    kept = partial.stat().st_size
    assert 0 < kept < len(ROWS)
    github.ranges.clear()
    assert fetch_from_github(upstream(), target).fresh
    assert github.ranges == [f"bytes={kept}-"]
    assert target.read_bytes() == ROWS


def test_the_token_of_the_hub_is_not_sent_to_github(github, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    sent = []
    from huggingface_hub import file_download

    real = file_download.http_get

    def watched(url, file, *, headers, **options):
        sent.append(headers)
        return real(url, file, headers=headers, **options)

    monkeypatch.setattr(file_download, "http_get", watched)
    fetch_from_github(upstream(), fetched_folder() / "test.jsonl")
    assert "hf_secret" not in str(sent)


@pytest.mark.parametrize("name", sorted(UPSTREAM))
def test_upstream_files_are_those_of_the_splits(name, data_dir):
    """The files at hand are those that are pinned; GSM8K's are the first parts of longer ones."""
    for split, file in UPSTREAM[name].items():
        path = data_dir / TASKS[name].files[split]
        data = path.read_bytes()
        if name not in ("gsm8k", "gsm8k_numbers", "humaneval"):  # excerpts; compressed upstream
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)


def test_samples_come_with_a_copy_of_the_package_alone(tmp_path, monkeypatch):
    """An installed package has no checkout around it."""
    shutil.copytree(
        Path(intact.__file__).parent, tmp_path / "site" / "intact", ignore=shutil.ignore_patterns("__pycache__")
    )
    program = "from intact.tasks.choose import *; print(len(choose(available('gsm8k')).load()))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert json.loads(done.stdout) == SAMPLE_SIZE
