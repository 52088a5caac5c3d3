"""What becomes of a program does not depend on the protection that it runs behind."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple, get_args

import pytest

from intact._base.errors import SandboxError
from intact.reason.tools import find_tool
from intact.tools.sandbox import Outcome, ProgramLimits, protection, run
from intact.tools.sandbox.commands import Kind

KINDS = [kind for kind in get_args(Kind) if kind != "none"]
LIMITS = ProgramLimits(seconds=60, cpu_seconds=1, memory=256 << 20, steps=200_000, output=10_000)


class Expected(NamedTuple):
    """A program, and what becomes of it: its output, the last line of its errors, its status and its ending."""

    code: str
    stdout: str = ""
    error: str = ""
    status: int = 0
    ended: str = "ok"


REFUSED = "PermissionError: [Errno 1] Operation not permitted"
NO_FILE = "FileNotFoundError: [Errno 2] No such file or directory"
OUT_OF_MEMORY = Expected("", "", "MemoryError", 86, "memory")

PROGRAMS = {
    "normal end": Expected("print(int(input()) * 7)", "42\n"),
    "exception": Expected("def f(x):\n    return 1 / x\nf(0)", "", "ZeroDivisionError: division by zero", 1, "error"),
    "exception of the library": Expected(
        "import json\njson.loads('[1,')",
        "",
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 4 (char 3)",
        1,
        "error",
    ),
    "traceback printed": Expected(
        "import re, traceback\ntry:\n    re.compile('(')\nexcept re.error:\n"
        "    print('p = _parser.parse(p, flags)' in traceback.format_exc())",
        "True\n",
    ),
    "no syntax": Expected("def", "", "SyntaxError: invalid syntax", 1, "error"),
    "warning": Expected("import warnings\nwarnings.warn('x')", "", "program.py:2: UserWarning: x"),
    "recursion": Expected(
        "def f(n):\n    return f(n + 1)\nf(0)",
        "",
        "RecursionError: maximum recursion depth exceeded",
        1,
        "error",
    ),
    "depth of recursion": Expected(
        "def f(n):\n    try:\n        return f(n + 1)\n    except RecursionError:\n        return n\nprint(f(0) > 900)",
        "True\n",
    ),
    "exit status 3": Expected("raise SystemExit(3)", status=3, ended="error"),
    "exit status 130": Expected("raise SystemExit(130)", status=-2, ended="signal"),
    "exit status 255": Expected("raise SystemExit(-1)", status=255, ended="error"),
    "exit with a text": Expected("import sys\nsys.exit('bye')", "", "bye", 1, "error"),
    "crash": Expected("import ctypes\nctypes.string_at(0)", status=-11, ended="signal"),
    "abort": Expected("import os\nos.abort()", status=-6, ended="signal"),
    "own signal": Expected("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", status=-15, ended="signal"),
    "raised signal": Expected("import signal\nsignal.raise_signal(10)", status=-10, ended="signal"),
    "alarm": Expected("import signal, time\nsignal.alarm(1)\ntime.sleep(60)", status=-14, ended="signal"),
    "memory": OUT_OF_MEMORY._replace(code="x = []\nwhile True:\n    x.append(bytearray(1 << 20))"),
    "memory at once": OUT_OF_MEMORY._replace(code="x = bytearray(1 << 30)"),
    "steps": Expected("while True:\n    pass", status=87, ended="steps"),
    "processor time": Expected("sum(range(10 ** 15))", status=-24, ended="time"),
    "output": Expected("print('x' * 20_000)", "x" * 10_000, status=-9, ended="output"),
    "fork": Expected("import os\nos.fork()", "", REFUSED, 1, "error"),
    "shell": Expected("import os\nprint(os.system('true'))", "32512\n"),
    "other program": Expected("import subprocess\nsubprocess.run(['/bin/true'])", "", REFUSED, 1, "error"),
    "replaced by another program": Expected("import os\nos.execv('/bin/sh', ['sh'])", "", NO_FILE, 1, "error"),
    "thread": Expected(
        "import threading\nthreading.Thread(target=print).start()",
        "",
        "RuntimeError: can't start new thread",
        1,
        "error",
    ),
    "network": Expected("import socket\nsocket.create_connection(('1.1.1.1', 53), 3)", "", REFUSED, 1, "error"),
    "pipe": Expected("import os\nr, w = os.pipe()\nos.write(w, b'a')\nprint(os.read(r, 1))", "b'a'\n"),
    "hidden memory": Expected("import os\nos.memfd_create('x')", "", REFUSED, 1, "error"),
    "absent file": Expected("open('data.txt')", "", f"{NO_FILE}: 'data.txt'", 1, "error"),
    "file of the system": Expected("open('/etc/passwd')", "", f"{NO_FILE}: '/etc/passwd'", 1, "error"),
    "file written elsewhere": Expected("open('/tmp/x', 'w')", "", f"{NO_FILE}: '/tmp/x'", 1, "error"),
    "look at a file": Expected("import os\nprint(os.path.exists('/etc/passwd'))", "False\n"),
    "absent file removed": Expected("import os\nos.remove('d')", "", f"{NO_FILE}: 'd'", 1, "error"),
    "missing module": Expected("import numpy.linalg", "", "ModuleNotFoundError: No module named 'numpy'", 1, "error"),
    "modules": Expected(
        "import base64, graphlib, logging, pathlib, pickle, queue, uuid\nlogging.warning('hi')", "", "WARNING:root:hi"
    ),
}


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTACT_SANDBOX", raising=False)


def outcome(name: str, kind: Kind) -> Outcome:
    """Return the outcome of a program behind a protection, without its seconds; skip where that does not work."""
    try:
        found = protection(kind)
    except SandboxError as error:
        pytest.skip(str(error))
    if not found.filtered:
        pytest.skip(f"system calls are refused by a filter alone: {found.missing}")
    return _run(PROGRAMS[name].code, kind)


@cache
def _run(code: str, kind: Kind) -> Outcome:
    return replace(run(code, "6\n", LIMITS, using=kind), seconds=0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_as_expected_behind_each_protection(name: str, kind: Kind) -> None:
    expected, found = PROGRAMS[name], outcome(name, kind)
    error = "".join(found.stderr.strip().splitlines()[-1:])
    # later versions of Python name the file where a program may not be started
    error = error.removesuffix(" while calling a Python object").removesuffix(": '/bin/true'")
    assert (found.stdout, error, found.status, found.ended) == expected[1:]


@pytest.mark.parametrize("name", PROGRAMS)
def test_outcomes_are_equal_behind_all_protections(name: str) -> None:
    """Whole tracebacks too, with the depth at which a recursion ends and the lines of the standard library."""
    assert len({outcome(name, kind) for kind in KINDS}) == 1


def test_modules_loaded_beforehand_do_not_count_as_the_programs_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "x = []\ntry:\n    while True:\n        x.append(bytearray(1 << 20))\nexcept MemoryError:\n    print(len(x))"
    monkeypatch.setitem(PROGRAMS, "count", Expected(code))
    counts = [int(outcome("count", kind).stdout) for kind in KINDS]
    assert max(counts) - min(counts) <= 2


def test_the_tool_python_gives_the_same_behind_all_protections(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for its address, which states the protection: a few programs see a file system, or none."""
    tool, calls = find_tool("python"), [{"code": one.code, "seconds": 5.0} for one in PROGRAMS.values()][:12]
    results, addresses = [], set()
    for kind in KINDS:
        outcome("normal end", kind)  # skips
        monkeypatch.setenv("INTACT_SANDBOX", kind)
        checked = [tool.check(call) for call in calls]
        results.append([tool.use(values, None) for values in checked])
        addresses.add(tool.address(checked[0]))
    assert results[0] == results[1]
    assert len(addresses) == len(KINDS)
