"""Tensor parallel in processes: the same texts and receipts as in one, whatever the degree; and lost ranks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import intact
from intact._base.errors import ParameterError, WorkerError
from intact.library import Model
from intact.library.parallel import start
from intact.library.parallel.executor import ParallelExecutor
from intact.models.ops import Attend
from support.folders import write_folder
from support.models import real_model
from support.namespaces import wait_until
from support.patience import PATIENCE
from support.tiny import write_tiny
from support.variants import VARIANTS

PROMPTS = ["one two three", "one two three four", "a", "one two three, and a longer one that takes several chunks"]
SLOW = pytest.mark.slow
DEGREES = [3, pytest.param(2, marks=SLOW), "here*3,local", pytest.param("here*1,local*5,local*2", marks=SLOW)]


def texts(model: Model, **options: Any) -> list[tuple[str, bytes]]:
    """Texts and receipts: sampled, several of a prompt (forks), prompts that begin alike, and a greedy one."""
    found = model.generate(PROMPTS, n=3, max_tokens=12, temperature=1.0, seed=5, receipt=True, **options)
    found += model.generate(PROMPTS[:1], max_tokens=12, receipt=True, **options)
    for one in (one for several in found for one in several):
        assert one.receipt is not None
    return [(one.text, one.receipt.encode()) for several in found for one in several if one.receipt is not None]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("ranks") / "m.gguf", "qwen3")


@pytest.fixture(scope="module")
def whole(path: Path) -> list[tuple[str, bytes]]:
    with intact.load(path, threads=2) as model:
        return texts(model)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=SLOW)])
@pytest.mark.parametrize("ranks", DEGREES)
def test_texts_and_receipts_are_those_of_one_process(
    ranks: int | str, threads: int, path: Path, whole: list[tuple[str, bytes]]
) -> None:
    with intact.load(path, threads=threads, tensor_parallel=ranks) as model:
        assert isinstance(model.executor, ParallelExecutor)
        assert texts(model) == whole
        assert model.executor.traffic["exchanges"] > 0


@pytest.mark.parametrize(
    "options",
    [
        {"chunk": 5, "rows": 7},
        pytest.param({"page_size": 16, "prefix_cache": False}, marks=SLOW),
        {"drafter": "lookup", "cache_bytes": 400_000},
    ],
)
def test_batches_pages_and_drafts_do_not_matter(
    options: dict[str, Any], path: Path, whole: list[tuple[str, bytes]]
) -> None:
    with intact.load(path, threads=1, tensor_parallel=2, **options) as model:
        assert texts(model) == whole


@pytest.mark.parametrize("variant", ["qwen2", pytest.param("gemma3", marks=SLOW)])
def test_folders_at_degree_4(variant: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS[variant], variant)
    with intact.load(folder) as model:
        expected = model.logits([3, 4, 5, 6], raw=True)[0].copy()
        heads = next(op.heads for op in model.program.ops if isinstance(op, Attend))
    if heads < 4:
        with pytest.raises(ParameterError, match="processes"):
            intact.load(folder, tensor_parallel=4)
        return
    with intact.load(folder, tensor_parallel=4) as model:
        assert (model.logits([3, 4, 5, 6], raw=True)[0] == expected).all()


@pytest.mark.parametrize(("profile", "executor"), [("fp32", "native"), ("int8", "reference")])
def test_profiles_and_the_reference(profile: str, executor: Any, path: Path) -> None:
    with intact.load(path, profile, executor=executor) as model:
        expected = model.logits([3, 4, 5, 6, 7]).copy()
    with intact.load(path, profile, executor=executor, tensor_parallel=2) as model:
        assert (model.logits([3, 4, 5, 6, 7]) == expected).all()


@pytest.fixture
def parallel(path: Path) -> Iterator[tuple[Model, list[int]]]:
    """A model of three ranks, and the processes of two."""
    before = children()
    with intact.load(path, threads=1, tensor_parallel=3) as model:
        yield model, sorted(children() - before)


def children() -> set[int]:
    """The ranks' processes that this one has started and that have not ended."""
    own = os.getpid()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, status = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue
        fields = status.rpartition(")")[2].split()
        if b"intact.library.parallel.worker" in line and int(fields[1]) == own and fields[0] != "Z":
            found.add(int(folder.name))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@needs_proc
def test_a_killed_rank_ends_requests_with_its_name(parallel: tuple[Model, list[int]]) -> None:
    model, processes = parallel
    assert len(processes) == 2
    os.kill(processes[1], signal.SIGKILL)
    with pytest.raises(WorkerError, match=rf"rank 2 \(process {processes[1]}\) has ended: signal 9"):
        model.generate("one", max_tokens=4)
    with pytest.raises(WorkerError, match="rank 2"):
        model.generate("two", max_tokens=4)
    assert not children() & set(processes)


@needs_proc
def test_a_rank_killed_in_the_midst_of_a_text_ends_it_with_its_name(parallel: tuple[Model, list[int]]) -> None:
    model, processes = parallel
    stream = model.stream("one", max_tokens=60, temperature=1.0, ignore_eos=True)
    next(stream)
    os.kill(processes[0], signal.SIGKILL)
    with pytest.raises(WorkerError, match="rank 1"):
        list(stream)


@needs_proc
def test_a_rank_that_stops_is_given_up_after_the_timeout(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTACT_RANK_TIMEOUT", "20")
    before = children()
    with intact.load(path, tensor_parallel=2) as model:
        (process,) = children() - before
        assert isinstance(model.executor, ParallelExecutor)
        model.executor.hub.channels[0]._socket.settimeout(0.5)
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(WorkerError, match=r"rank 1 .* sent nothing for 0.5 s"):
            model.generate("one", max_tokens=4)
    assert process not in children()


@needs_proc
def test_closing_ends_the_processes(path: Path) -> None:
    before = children()
    model = intact.load(path, tensor_parallel=2)
    assert len(children() - before) == 1
    model.close()
    assert not children() - before


@needs_proc
def test_no_process_outlives_a_killed_parent(path: Path) -> None:
    load = f"import intact, time; m = intact.load({str(path)!r}, tensor_parallel=2)"
    code = f"{load}; print('up', flush=True); time.sleep(3600)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    ranks = ranks_of(parent.pid)
    assert len(ranks) == 1
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not Path(f"/proc/{ranks[0]}").exists(), "the end of the rank", PATIENCE)


def ranks_of(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in listed]


def test_files_that_differ_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "state_of", lambda path: "another")
    with pytest.raises(WorkerError, match=r"rank 1 .*the state of m\.gguf"):
        intact.load(path, tensor_parallel=2)


def test_another_program_or_version_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "program_leaf", lambda *_: b"another")
    with pytest.raises(WorkerError, match=r"the program of m\.gguf"):
        intact.load(path, tensor_parallel=2)
    monkeypatch.undo()
    monkeypatch.setattr(intact, "__version__", "0.0.1")
    with pytest.raises(WorkerError, match=r"intact is .* here but 0\.0\.1 at rank 0"):
        intact.load(path, tensor_parallel=2)
    assert not children()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"tensor_parallel": 0}, "1 to 64"),
        ({"tensor_parallel": "two"}, "a number of processes"),
        ({"tensor_parallel": "local,here"}, "'here' may only come first"),
        ({"tensor_parallel": "local*0"}, "a share"),
        ({"tensor_parallel": 4}, "use at most 3"),
        ({"tensor_parallel": 2, "adapters": {"a": "somewhere"}}, "adapters"),
        ({"tensor_parallel": 2, "prefix_cache": "somewhere"}, "files"),
        ({"tensor_parallel": 2, "profile": "int8+wina50"}, "whole matrices"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(options: dict[str, Any], what: str, path: Path) -> None:
    with pytest.raises(ParameterError, match=what):
        intact.load(path, **options)
    assert not children()


def test_an_address_that_does_not_answer_is_named(path: Path) -> None:
    with pytest.raises(WorkerError, match=r"rank 1 \(127.0.0.1:1\) does not answer"):
        intact.load(path, tensor_parallel="127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [3, 2])
def test_smollm2(ranks: int) -> None:
    name = real_model("smollm2-135m")
    with intact.load(name) as model:
        expected = texts(model)
    with intact.load(name, tensor_parallel=ranks) as model:
        assert texts(model) == expected
