"""Worker processes: limits hold, replies are bounded, and nothing of the parent's surroundings reaches them."""

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from intact._base.errors import ParameterError
from intact._base.process import LimitReached, WorkerFailure, WorkerProcess
from intact._base.process import worker as module
from support.patience import PATIENCE

PROGRAM = Path(__file__).parents[2] / "support" / "hostile_worker.py"


@pytest.fixture
def worker():
    made = WorkerProcess(PROGRAM, "json", seconds=1, memory=256 << 20, reply=1 << 16)
    yield made
    made.end()


def gone(pid: int) -> bool:
    """Whether a process has ended, in a while."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_values_arrive_as_they_are(worker):
    value = [{"a": (1, 2.5, None), 3: [True, "é\ud800😀\x00"]}, -(1 << 70), b"x"]
    assert worker.ask("echo", value) == repr(value)
    assert worker.started == 1


def test_a_request_that_takes_too_long_ends_and_the_next_is_answered(worker):
    with pytest.raises(LimitReached, match=r"^took more than 1 s$"):
        worker.ask("spin", 60)
    with pytest.raises(LimitReached, match=r"^took more than 0.25 s$"):
        worker.ask("spin", 60, seconds=0.25)
    assert worker.ask("spin", 1.5, seconds=30) is None
    assert worker.started == 3


def test_time_is_counted_for_each_request_by_itself(worker):
    for _ in range(6):
        worker.ask("spin", 0.4)
    assert worker.started == 1


def test_a_request_that_takes_all_memory_ends_and_the_next_is_answered(worker):
    with pytest.raises(LimitReached, match=r"^used more than 256 MB of memory$"):
        worker.ask("fill", 1 << 30)
    assert worker.ask("fill", 1000) == 1000


@pytest.mark.parametrize("head", [1 << 17, 1 << 40, (1 << 64) - 1])
def test_a_reply_without_end_is_not_read(worker, head):
    with pytest.raises(LimitReached, match=r"^wrote a reply of more than 65,536 bytes$"):
        worker.ask("flood", 1 << 40, head)
    assert worker.ask("echo", 1) == "1"


def test_a_reply_longer_than_its_limit_is_a_failure_that_repeats(worker):
    assert worker.ask("long", 60_000) == "x" * 60_000
    for _ in range(2):
        with pytest.raises(WorkerFailure, match=r"the reply has 70,0.. bytes, more than the limit of 65,536"):
            worker.ask("long", 70_000)
    assert len(worker.ask("long", 70_000, reply=1 << 20)) == 70_000
    assert worker.started == 1


def test_a_worker_that_sleeps_is_ended_by_the_clock_on_the_wall(worker, monkeypatch):
    monkeypatch.setattr(module, "_patience", lambda seconds: 1.0)
    with pytest.raises(LimitReached, match="exceeded the wall-clock timeout"):
        worker.ask("sleep", 600)
    monkeypatch.undo()
    assert worker.ask("echo", 1) == "1"


def test_what_a_function_raises_is_named_and_a_crash_too(worker):
    with pytest.raises(WorkerFailure, match=r"^JSONDecodeError: Expecting property name"):
        worker.ask("fail")
    with pytest.raises(LimitReached, match=r"^crashed its worker process with SIGSEGV$"):
        worker.ask("die")
    assert worker.ask("echo", 1) == "1"


def test_a_worker_that_somebody_ended_between_requests_is_started_again(worker):
    pid = worker.ask("pid")
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert worker.ask("echo", 1) == "1"
    assert worker.started == 2


def test_threads_may_ask_side_by_side(worker):
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: worker.ask("echo", n), range(50))) == [str(n) for n in range(50)]
    assert worker.started == 1


def test_a_worker_cannot_write_files(worker, tmp_path):
    assert worker.ask("write", str(tmp_path / "file")) == "File too large"


def test_nothing_of_the_surroundings_reaches_it(worker, monkeypatch):
    expected = worker.ask("surroundings"), worker.ask("hash", "text")
    assert worker.ask("surroundings") == expected[0]
    worker.end()
    for name, value in {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONPATH": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    assert (worker.ask("surroundings"), worker.ask("hash", "text")) == expected
    assert expected[0][1:3] == ["UTC", "utf-8"]
    assert not {"HOME", "PATH", "PYTHONPATH"} & set(expected[0][0])
    assert worker.ask("modules") == []


def test_a_worker_ends_with_its_parent(worker):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from intact._base.process import WorkerProcess\n"
        "worker = WorkerProcess(Path(sys.argv[1]), 'json', seconds=1, memory=1 << 28)\n"
        "print(worker.ask('pid'), flush=True); sys.stdin.read()\n"
    )
    source = str(Path(module.__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(PROGRAM), source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    assert gone(pid)


def test_a_worker_ends_with_its_owner():
    worker = WorkerProcess(PROGRAM, "json", seconds=1, memory=256 << 20)
    pid = worker.ask("pid")
    del worker
    gc.collect()
    assert gone(pid)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_has_a_worker_of_its_own_and_leaves_the_other_alone(worker):
    pid = worker.ask("pid")
    reading, writing = os.pipe()
    with worker._lock:  # as if a thread were asking
        forked = os.fork()
    if not forked:
        os.write(writing, str(worker.ask("pid")).encode())
        os._exit(0)
    os.waitpid(forked, 0)
    other = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    assert other != pid
    assert gone(other)
    assert worker.ask("pid") == pid


def test_what_is_not_installed_or_does_not_start_is_an_error(tmp_path):
    missing = WorkerProcess(PROGRAM, "no-such-package", seconds=1, memory=1 << 28)
    with pytest.raises(ParameterError, match=r"this needs no-such-package: pip install no-such-package$"):
        missing.ask("echo", 1)
    program = tmp_path / "program.py"
    program.write_text("import json, nothing_of_this_name")
    broken = WorkerProcess(program, "json", seconds=1, memory=1 << 28)
    with pytest.raises(ParameterError, match=r"json is installed but does not start: ModuleNotFound.*nothing_of"):
        broken.ask("echo", 1)
