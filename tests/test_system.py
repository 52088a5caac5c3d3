"""What other systems lack: the package imports, generates the same bits and says plainly what it cannot do there."""

import json
import mmap
import os
from pathlib import Path

import pytest

import intact
from intact._base import system
from intact._base.process import WorkerProcess
from support.other_system import SYSTEMS, run_on
from support.tiny import write_tiny

ANSWER = """
import json, sys, intact
model = intact.load(sys.argv[1])
text = model.generate("the cat", max_tokens=12, seed=3, temperature=0.9)
reply = model.chat([{"role": "user", "content": "Hello"}], max_tokens=6)
print(json.dumps([list(one.tokens) for one in (*text[0], reply)]))
"""
LIMITS = """
from pathlib import Path
from intact._base.process import LimitReached, TimedOut, WorkerProcess, worker
program = Path(sys.argv[1])
made = WorkerProcess(program, "json", seconds=1, memory=256 << 20, reply=1 << 16)
assert made.ask("echo", "a") == repr("a")
worker._patience = lambda seconds: seconds
try:
    made.ask("sleep", 60)
except TimedOut as error:
    print(error)
worker._patience = lambda seconds: 60.0
assert made.ask("echo", "b") == repr("b")
assert made.started == 2
"""
SANDBOX = """
from intact._base.errors import SandboxError
from intact.tools import sandbox
print(sandbox.protection().missing)
for using in (None, "none"):
    try:
        sandbox.run("print(1)", using=using)
    except SandboxError as error:
        print(error)
"""
HOSTILE = Path(__file__).parent / "support" / "hostile_worker.py"


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_bits_are_the_same_without_what_the_system_lacks(name: str, tmp_path: Path) -> None:
    file = write_tiny(tmp_path / "tiny.gguf")
    model = intact.load(file)
    text = model.generate("the cat", max_tokens=12, seed=3, temperature=0.9)
    reply = model.chat([{"role": "user", "content": "Hello"}], max_tokens=6)
    assert json.loads(run_on(name, ANSWER, file)) == [list(one.tokens) for one in (*text[0], reply)]


def test_a_worker_without_poll_and_timers_is_ended_by_the_clock_and_the_next_request_is_answered() -> None:
    assert run_on("windows", LIMITS, HOSTILE) == "exceeded the wall-clock timeout\n"


def test_programs_are_refused_before_they_run_where_nothing_could_end_them() -> None:
    lacking = "no resource limits and no process groups"
    refusal = f"programs cannot be run on this system: it has {lacking}"
    assert run_on("windows", SANDBOX).splitlines() == [f"this system has {lacking}", refusal, refusal]


def test_a_limit_that_the_system_does_not_have_is_left_out_and_the_others_hold(tmp_path: Path) -> None:
    worker = WorkerProcess(HOSTILE, "json", seconds=1, memory=256 << 20, limits={"NO_SUCH": 0})
    try:
        assert worker.ask("write", str(tmp_path / "file")) == "File too large"
    finally:
        worker.end()


def test_zeroed_memory_is_a_forked_process_own() -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    memory = system.zeroed(mmap.PAGESIZE)
    assert memory[:] == bytes(mmap.PAGESIZE)
    child = os.fork()
    if not child:
        memory[0] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert memory[0] == 0


def test_a_group_that_has_ended_is_left_alone() -> None:
    system.end_group(2**22)  # beyond what Linux numbers its processes with


def test_allowing_files_that_are_allowed_changes_nothing() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert system.allow_files(1) is None
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
