"""Programs that try to get out, and programs that only compute."""

import errno
import importlib
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from intact._base.errors import ParameterError, SandboxError
from intact.tools.sandbox import ProgramLimits, filters, protection, run
from intact.tools.sandbox.commands import Kind, Protection
from support.patience import PATIENCE

protections = importlib.import_module("intact.tools.sandbox.protection")  # the name in the package is the function

KINDS: tuple[Kind, ...] = ("bubblewrap", "seccomp")
LIMITS = ProgramLimits(seconds=30, cpu_seconds=2, memory=256 << 20)


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTACT_SANDBOX", raising=False)


@pytest.fixture(params=KINDS)
def using(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    try:
        protection(kind)
    except SandboxError as error:
        pytest.skip(str(error))
    return kind


@pytest.mark.skipif(sys.platform != "linux" or not find_spec("pyseccomp"), reason="needs Linux and pyseccomp")
def test_where_its_library_is_installed_seccomp_protects() -> None:
    assert protection("seccomp").filtered


def test_a_program_reads_writes_and_ends_well(using: Kind) -> None:
    outcome = run("import sys\nprint(int(input()) * 7)\nprint('läuft', file=sys.stderr)", "6\n", using=using)
    assert (outcome.stdout, outcome.stderr, outcome.status, outcome.ended) == ("42\n", "läuft\n", 0, "ok")
    assert outcome.ok


def test_an_exception_leaves_its_traceback_and_nothing_of_the_runner(using: Kind) -> None:
    outcome = run("def f(x):\n    return 1 / x\n\nprint('before')\nf(0)", using=using)
    assert (outcome.stdout, outcome.status, outcome.ended) == ("before\n", 1, "error")
    assert outcome.stderr.startswith('Traceback (most recent call last):\n  File "program.py", line 5, in <module>\n')
    assert outcome.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("code", ["def", "x = '\x00'", "x = '\ud800'", "(" * 5000, "raise SystemExit(3)"])
def test_code_that_is_none_is_an_error(using: Kind, code: str) -> None:
    assert run(code, using=using).ended == "error"


def test_a_program_is_main_and_knows_its_name(using: Kind) -> None:
    code = "import sys, __main__\nx = 5\nif __name__ == '__main__':\n    print(__main__.x, sys.argv, input.__name__)"
    assert run(code, using=using).stdout == "5 ['program.py'] input\n"


def test_hashes_chance_and_environment_are_the_same_each_time_and_everywhere() -> None:
    code = (
        "import os, random\nprint(hash('x'), list({'a', 'b', 'c', 'd'}), random.random(), sorted(os.environ.items()))"
    )
    texts = {run(code, using=kind).stdout for kind in KINDS if _works(kind) for _ in range(2)}
    assert len(texts) == 1
    assert texts != {""}


def _works(kind: Kind) -> bool:
    try:
        return protection(kind).kind == kind
    except SandboxError:
        return False


COMPUTING = """
import bisect, cmath, collections, copy, datetime, decimal, fractions, functools, hashlib, heapq, itertools, json, math
import operator, random, re, statistics, string, typing
from dataclasses import dataclass
@dataclass
class P:
    x: int
print(P(3), fractions.Fraction(1, 3) + 1, decimal.Decimal(2).sqrt(), math.comb(10, 3), re.findall(r'\\d', 'a1b2'))
print(hashlib.md5(b'x').hexdigest(), datetime.datetime.strptime('2024-02-29', '%Y-%m-%d'), statistics.mean([1, 2]))
print(json.dumps(collections.Counter('aab')), 'é'.encode('latin-1'), 'x'.encode('utf-16'), copy.deepcopy([[1]]))
"""


def test_what_programs_compute_with_is_there_in_both(using: Kind) -> None:
    outcome = run(COMPUTING, using=using)
    assert outcome.ok, outcome.stderr
    assert outcome.stdout.startswith("P(x=3) 4/3 1.414")


HOME = {entry.name for entry in Path.home().iterdir() if entry.is_file()}

ATTEMPTS = {
    "fork": "import os\nos.fork()",
    "spawn": "import os\nos.posix_spawn('/bin/sh', ['sh', '-c', 'true'], {})",
    "shell": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "executable": "import os, sys\nos.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
    "thread": "import threading\nt = threading.Thread(target=print)\nt.start()",
    "internet": "import socket\nsocket.create_connection(('1.1.1.1', 53), 3)",
    "passwords": "print(open('/etc/passwd').read())",
    "home": f"import os\nassert set(os.listdir({str(Path.home())!r})) & {HOME!r}",
    "checkout": f"print(open({str(Path(__file__))!r}).read())",
    "upwards": "print(open('../../../../../../etc/hostname').read())",
    "processes": "import os\nprint(os.listdir('/proc'))",
    "write": "open('/tmp/intact-was-here', 'w').write('x')",
    "write beside": "open('../here', 'w').write('x')",
    "write library": "import os\nopen(os.__file__, 'a').write('x')",
    "link": "import os\nos.symlink('/etc', '/scratch/etc')\nprint(open('/scratch/etc/passwd').read())",
    "mount": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/scratch', b'tmpfs', 0, None) == 0",
    "namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "trace": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0",
    "limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "owner": "import os\nos.setuid(0)\nopen('/etc/shadow').read()",
    "hidden memory": "import os\nos.memfd_create('x')",
    "attributes": "import os\nopen('file', 'w').close()\nos.setxattr('file', 'user.x', bytes(60000))",
    "attributes of a descriptor": "import os\nos.setxattr(os.open('file', os.O_CREAT), 'user.x', bytes(60000))",
    "vsock": "import socket\nsocket.socket(40, socket.SOCK_STREAM)",
    "pair of sockets": "import socket\nsocket.socketpair()",
    "local socket": "import socket\nsocket.socket(socket.AF_UNIX)",
}

NEEDS_FILTER = ("hidden memory", "vsock", "attributes", "attributes of a descriptor", "pair of sockets", "local socket")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_an_attempt_to_get_out_fails_inside_and_leaves_nothing(using: Kind, attempt: str) -> None:
    if not protection(using).filtered and attempt in NEEDS_FILTER:
        pytest.skip("needs the filter")
    outcome = run(ATTEMPTS[attempt], limits=LIMITS, using=using)
    assert outcome.ended in ("error", "signal"), outcome
    assert "root:" not in outcome.stdout
    assert not Path("/tmp/intact-was-here").exists()


def test_killing_everything_in_sight_kills_only_itself(using: Kind) -> None:
    harmless = run(f"import os\nos.kill({os.getpid()}, 0)", limits=LIMITS, using=using)
    assert harmless.ended == "error", "it reaches us: what follows would do harm"
    code = """
import os
for pid in (os.getppid(), 1, -1, 0):
    try:
        os.kill(pid, 9)
    except OSError:
        pass
print('alive')
"""
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    try:
        outcome = run(code, limits=LIMITS, using=using)
        assert outcome.ended in ("ok", "error", "signal")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_no_process_is_signalled_by_way_of_a_descriptor(using: Kind) -> None:
    """The kernel signals the owner of a pipe whose other end was read, as the user who named the owner."""
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    code = f"""
import ctypes, time
libc = ctypes.CDLL(None)
SETOWN, SETOWN_EX, SETSIG, GETFL, SETFL, ASYNC = 8, 15, 10, 3, 4, 0o20000
libc.fcntl(1, SETOWN, {bystander.pid})
libc.fcntl(1, SETOWN_EX, (ctypes.c_int * 2)(1, {bystander.pid}))
libc.fcntl(1, SETSIG, 9)
libc.fcntl(1, SETFL, libc.fcntl(1, GETFL, 0) | ASYNC)
for i in range(5):
    print(i, flush=True)
    time.sleep(0.05)
"""
    try:
        outcome = run(code, limits=LIMITS, using=using)
        assert (outcome.ended, outcome.stdout) == ("ok", "0\n1\n2\n3\n4\n")
        time.sleep(0.2)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_descriptors_are_copied_and_looked_at(using: Kind) -> None:
    code = "import os\nfd = os.dup(1)\nprint(os.get_inheritable(fd), os.get_blocking(fd))"
    assert run(code, using=using).stdout == "False True\n"


def test_no_secret_of_the_environment_passes(using: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    outcome = run("import os\nprint(dict(os.environ))", using=using)
    assert outcome.ok
    assert "hunter2" not in outcome.stdout
    assert "PATH" not in outcome.stdout


def test_open_descriptors_of_the_parent_do_not_pass(using: Kind, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        code = """
import os
for n in range(3, 64):
    try:
        print(n, os.read(n, 100))
    except OSError:
        pass
"""
        assert run(code, using=using).stdout == ""


def test_a_local_server_cannot_be_reached(using: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 3)", using=using).ended == "error"


UNNEEDED = {
    "io_uring_setup": (0, 0),
    "io_uring_enter": (-1, 0, 0, 1 << 30, 0, 0),
    "io_uring_register": (-1, 1 << 30, 0, 0),
    "bpf": (9999, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 1 << 30),
    "userfaultfd": (1 | 1 << 30,),
}
"""Doors into the kernel, each with arguments that the kernel itself refuses with another error than EPERM."""


@pytest.mark.parametrize("call", UNNEEDED)
def test_doors_into_the_kernel_are_shut_by_the_filter(using: Kind, call: str) -> None:
    if not protection(using).filtered:
        pytest.skip("needs the filter")
    import pyseccomp

    number = pyseccomp.resolve_syscall(pyseccomp.system_arch(), call)
    assert number > 0
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({", ".join(f"ctypes.c_long({value})" for value in (number, *UNNEEDED[call]))}), ctypes.get_errno())
"""
    assert run(code, limits=LIMITS, using=using).stdout == f"-1 {errno.EPERM}\n"


LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_GREATER, JUMP_SET, JUMP, RETURN = 0x20, 0x15, 0x35, 0x25, 0x45, 0x05, 0x06


def decided(program: bytes, number: int, arch: int) -> int:
    """Run a filter (classic BPF, as `linux/filter.h` has it) on a system call whose arguments are all zero."""
    instructions = list(struct.iter_unpack("<HBBI", program))
    data = struct.pack("<II", number, arch) + bytes(56)
    place, value = 0, 0
    while True:
        code, true, false, operand = instructions[place]
        place += 1
        if code == RETURN:
            return operand
        if code == LOAD:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == JUMP:
            place += operand
        else:
            holds = {
                JUMP_EQUAL: value == operand,
                JUMP_GREATER: value > operand,
                JUMP_AT_LEAST: value >= operand,
                JUMP_SET: bool(value & operand),
            }
            place += true if holds[code] else false


REFUSED, ALLOWED = 0x00050000 | errno.EPERM, 0x7FFF0000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="knows no number of this architecture")
@pytest.mark.skipif(not find_spec("pyseccomp"), reason="needs pyseccomp")
@pytest.mark.parametrize("call", [*UNNEEDED, "ptrace", "mount", "socket", "memfd_create", "unshare", "keyctl"])
def test_both_filters_refuse_a_call_whatever_the_kernel_says_of_it(call: str) -> None:
    """Many kernels refuse some of these by themselves, where a test in the sandbox would see no difference."""
    import pyseccomp

    arch = ARCHITECTURES[platform.machine()]
    for program in (filters.strict(), filters.narrow()):
        assert decided(program, pyseccomp.resolve_syscall(pyseccomp.system_arch(), call), arch) == REFUSED
        assert decided(program, pyseccomp.resolve_syscall(pyseccomp.system_arch(), "read"), arch) == ALLOWED


CAPABILITIES = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
VERSION, CAPBSET_READ = 0x20080522, 23
header, sets = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)(*[9] * 6)
assert libc.capget(header, sets) == 0
print(list(sets), [n for n in range(64) if libc.prctl(CAPBSET_READ, n, 0, 0, 0) == 1])
"""


def test_in_bubblewrap_no_capability_is_left_nor_can_be_gained() -> None:
    if not _works("bubblewrap"):
        pytest.skip("needs bubblewrap")
    assert run(CAPABILITIES, limits=LIMITS, using="bubblewrap").stdout == "[0, 0, 0, 0, 0, 0] []\n"


PACKAGES = sorted(
    str(folder)
    for place in {Path(os.__file__).parent, *Path("/usr/lib").glob("python3*"), *Path("/usr/lib64").glob("python3*")}
    for folder in place.glob("*-packages")
    if any(folder.iterdir())
)


@pytest.mark.skipif(not PACKAGES, reason="no interpreter here has packages")
def test_packages_of_the_interpreter_cannot_be_listed_read_or_imported(using: Kind) -> None:
    """As in the layouts of pyenv and conda, where they lie inside the standard library's folder."""
    file = next(str(path) for folder in PACKAGES for path in sorted(Path(folder).rglob("*.py")))
    names = sorted({path.parent.name for folder in PACKAGES for path in Path(folder).glob("*/__init__.py")})
    code = f"""
import os, sys
sys.path += {PACKAGES!r}
def attempt(action):
    try:
        return action()
    except (OSError, ImportError):
        return []
print([attempt(lambda: os.listdir(folder)) for folder in {PACKAGES!r}])
print(attempt(lambda: open({file!r}).read()))
print([name for name in {names!r} if attempt(lambda: [__import__(name)])])
print([attempt(lambda: open(folder + '/x', 'w')) for folder in {PACKAGES!r}])
"""
    outcome = run(code, limits=replace(LIMITS, cpu_seconds=30, seconds=300), using=using)
    none = [[] for _ in PACKAGES]
    assert outcome.stdout.splitlines() == [str(none), "[]", "[]", str(none)], outcome.stderr


def test_untrusted_programs_never_run_without_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SandboxError, match="no protection against untrusted code"):
        run("print(1)", using="none", untrusted=True)
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    with pytest.raises(SandboxError, match="INTACT_SANDBOX=none, or the caller, asked for it"):
        run("print(1)", untrusted=True)


LONG = ProgramLimits(seconds=600, cpu_seconds=300)


@pytest.mark.parametrize(
    ("code", "steps"),
    [
        ("pass", 0),
        ("for i in range(7):\n    pass", 7),
        ("while i < 5:\n    i += 1", 5),
        ("def f(n):\n    return n and f(n - 1)\nf(4)", 5),
        ("def f():\n    'Say.'\nf()\nassert f.__doc__ == 'Say.'", 1),
        ("f = lambda n: 0\nassert [f(1), f(2)] == [0, 0]", 2),
        ("assert [x for x in range(3) if x] == [1, 2]", 3),
        ("assert {x: y for x in range(2) for y in range(3)} == {0: 2, 1: 2}", 2 + 6),
        ("assert sum(x for x in range(4)) == 6", 4),
        ("class A:\n    def __f(self):\n        for _ in 'ab':\n            yield _\nlist(A()._A__f())", 1 + 2),
        ("assert sorted('cab', key=lambda c: c) == ['a', 'b', 'c']", 3),
        ("for i in range(9):\n    if i == 2:\n        break\n    continue\nelse:\n    0 / 0", 3),
        ("x = 'a' * (1 << 15)\nx += 'b'\ny = [x + x]\na, b = x + x, 2", 4 + 4 + 8),
        ("x = 1 << (1 << 17)\nclass A:\n    __y = x * 1\n    z = x", 2 + 2),
        ("async def f():\n    return 1\ntry:\n    f().send(None)\nexcept StopIteration:\n    pass", 1),
    ],
)
def test_steps_are_the_programs_own_iterations_and_calls(code: str, steps: int) -> None:
    kind = protection().kind
    program = f"i = 0\n{code}\nfor _ in (): pass\nprint('done')"
    enough = run(program, limits=replace(LONG, steps=max(1, steps)), using=kind)
    assert (enough.ended, enough.stdout) == ("ok", "done\n"), enough
    if steps > 1:
        short = run(program, limits=replace(LONG, steps=steps - 1), using=kind)
        assert (short.ended, short.status, short.stdout) == ("steps", 87, "")


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "try:\n    while True:\n        pass\nexcept BaseException:\n    print('caught')",
        "def f():\n    while 1:\n        try:\n            f()\n        except BaseException:\n            pass\nf()",
        "for x in iter(int, 1):\n    print(end='')",
        "any(0 for x in iter(int, 1))",
        "x, y = 1, 1\nwhile True:\n    x, y = y, x + y",
        "x = 2\nwhile True:\n    x *= x",
        "text = ''\nwhile True:\n    text = 'x' + text",
        "import functools\nfunctools.reduce(lambda a, b: a, iter(int, 1))",
        "import sys\nclass Out:\n    def write(self, text):\n        while True: pass\nsys.stdout = Out()\nprint('x')",
    ],
)
def test_what_does_not_end_runs_out_of_steps_which_nothing_catches(using: Kind, code: str) -> None:
    """What it wrote until then is kept; how long it took changes nothing."""
    outcome = run(f"print('begun')\n{code}\nprint('behind')", limits=replace(LONG, steps=100_000), using=using)
    assert (outcome.stdout, outcome.ended, outcome.status) == ("begun\n", "steps", 87)
    assert outcome.settled


PYTHONS = sorted(
    {
        str(found)
        for version in ("3.11", "3.12", "3.13")
        for found in (*Path.home().glob(f".pyenv/versions/{version}*/bin/python3"), shutil.which(f"python{version}"))
        if found
    }
)
COUNTING = """
import runpy, sys
runner = runpy.run_path(sys.argv[1])
runner["count_steps"](int(sys.argv[2]))
exec(runner["compile_counted"](sys.argv[3]), {"__name__": "__main__"})
"""
COUNTED = """
from dataclasses import dataclass
@dataclass
class Point:
    x: int
    def moved(self, by): return Point(self.x + by)
def primes(n):
    "Sieve."
    return [p for p in range(2, n) if all(p % q for q in range(2, int(p ** 0.5) + 1))]
def walk(n):
    while n != 1:
        n = 3 * n + 1 if n % 2 else n // 2
        yield n
async def later(): return [x for x in range(5)]
try:
    later().send(None)
except StopIteration as end:
    assert end.value == [0, 1, 2, 3, 4]
assert len(primes(200)) == 46 and len(list(walk(27))) == 111
assert sum(Point(i).moved(1).x for i in range(10)) == 55
assert {k: v for k, v in zip('abc', map(lambda c: c * 2, range(3)))} == {'a': 0, 'b': 2, 'c': 4}
"""
STEPS = 970
"""Of `COUNTED`, whatever the version of Python."""


@pytest.mark.parametrize("python", PYTHONS)
def test_every_version_of_python_counts_the_same_steps(python: str) -> None:
    if subprocess.run([python, "--version"], check=False, capture_output=True).returncode:
        pytest.skip("there is a command of this name that starts nothing")
    runner = Path(protections.__file__).with_name("runner.py")

    def status(steps: int) -> int:
        command = [python, "-c", COUNTING, str(runner), str(steps), COUNTED]
        return subprocess.run(command, check=False, env={"PYTHONHASHSEED": "0"}).returncode

    assert (status(STEPS), status(STEPS - 1)) == (0, 87)


UNCOUNTED = "print('begun', flush=True)\nsum(range(10**15))"
"""A loop of a built-in function, which only the safety net ends."""


def test_what_no_step_counts_ends_with_the_processor_time_and_settles_nothing(using: Kind) -> None:
    outcome = run(UNCOUNTED, limits=ProgramLimits(seconds=600, cpu_seconds=1), using=using)
    assert (outcome.stdout, outcome.ended) == ("begun\n", "time")
    assert not outcome.settled


def test_deafness_to_the_first_signal_does_not_help() -> None:
    if not _works("bubblewrap"):
        pytest.skip("needs bubblewrap")
    code = f"import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n{UNCOUNTED}"
    outcome = run(code, limits=ProgramLimits(seconds=600, cpu_seconds=1), using="bubblewrap")
    assert outcome.status == -signal.SIGKILL
    assert not outcome.settled


@pytest.mark.parametrize("first", ["", "import os\nos.close(1)\nos.close(2)\n"])
def test_sleeping_ends_with_the_wall_time(using: Kind, first: str) -> None:
    outcome = run(first + "import time\ntime.sleep(1000)", limits=ProgramLimits(seconds=1.5), using=using)
    assert outcome.ended == "time"
    assert outcome.seconds >= 1.5


def test_memory_is_capped(using: Kind) -> None:
    outcome = run("x = []\nwhile True:\n    x.append(bytearray(1 << 20))", limits=LIMITS, using=using)
    assert outcome.ended == "memory"
    assert outcome.stderr.endswith("MemoryError\n")


def test_output_is_capped_to_the_byte(using: Kind) -> None:
    outcome = run("while True:\n    print('x' * 99)", limits=ProgramLimits(output=100_000), using=using)
    assert (outcome.ended, len(outcome.stdout)) == ("output", 100_000)
    both = run(
        "import sys\nsys.stderr.write('e' * 10)\nsys.stdout.write('o' * 10)",
        limits=ProgramLimits(output=20),
        using=using,
    )
    assert (both.ended, both.stdout, both.stderr) == ("ok", "o" * 10, "e" * 10)


def test_bytes_that_are_no_text_are_replaced(using: Kind) -> None:
    assert run("import os\nos.write(1, b'a\\xffb')", using=using).stdout == "a\ufffdb"


def test_a_crash_of_the_interpreter_is_a_signal(using: Kind) -> None:
    outcome = run("import ctypes\nctypes.string_at(0)", using=using)
    assert (outcome.ended, outcome.status) == ("signal", -signal.SIGSEGV)


def test_the_scratch_folder_holds_files_up_to_its_size_and_is_fresh_each_time() -> None:
    if not _works("bubblewrap"):
        pytest.skip("needs bubblewrap")
    code = """
import os
print(os.listdir())
try:
    for n in range(100):
        with open(f'file{n}', 'wb') as file:
            file.write(bytes(1 << 20))
except OSError as error:
    print(error.strerror, n)
"""
    for _ in range(2):
        outcome = run(code, limits=ProgramLimits(scratch=4 << 20), using="bubblewrap")
        assert outcome.stdout == "[]\nNo space left on device 4\n"


def test_many_programs_run_at_once(using: Kind) -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = pool.map(lambda n: run(f"print({n} ** 2)", using=using), range(8))
    assert [outcome.stdout for outcome in outcomes] == [f"{n * n}\n" for n in range(8)]


def test_a_program_dies_with_whom_it_was_started_by(using: Kind, tmp_path: Path) -> None:
    mark = f"mark{os.getpid()}{using}"
    code = f"from intact.tools.sandbox import run\nrun('import time; time.sleep(100) # {mark}', using={using!r})"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while not (found := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)  # the first ones only try the protection
    found = children.read_text().split() or found
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def test_without_protection_code_runs_only_if_the_caller_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protections, "_without_bubblewrap", lambda: "gone")
    monkeypatch.setattr(protections, "_without_seccomp", lambda: "gone too")
    assert protection() == Protection("none", False, "bubblewrap: gone; seccomp: gone too")
    with pytest.raises(SandboxError, match=r"no protection against the code that would run .*gone too"):
        run("print(1)")
    with pytest.raises(SandboxError, match="protection by seccomp is not available: gone too"):
        run("print(1)", using="seccomp")
    assert run("print(1)", using="none").stdout == "1\n"


def test_the_environment_may_choose_or_insist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTACT_SANDBOX", "none")
    assert protection().kind == "none"
    assert run("import os\nprint(os.path.exists('/etc/passwd'))").stdout == "True\n"
    monkeypatch.setenv("INTACT_SANDBOX", "chroot")
    with pytest.raises(ParameterError, match="INTACT_SANDBOX must be one of bubblewrap, seccomp, none, got 'chroot'"):
        run("print(1)")
    if _works("seccomp"):
        monkeypatch.setenv("INTACT_SANDBOX", "seccomp")
        assert protection().kind == "seccomp"
        assert run("import os\nprint(os.path.exists('/etc/passwd'))").stdout == "False\n"


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(SandboxError, match=r"pip install pyseccomp$"):
        protection("seccomp")


FAILING = """
import sys
from pathlib import Path
from intact._base.errors import SandboxError
from intact.tools.sandbox import protection, run
broken = Path(sys.argv[1])
def attempt():
    try:
        return run("print(6 * 7)", using="bubblewrap").stdout.strip()
    except SandboxError as error:
        return str(error)
broken.touch()
print(attempt())
broken.unlink()
print(attempt())
broken.touch()
print(attempt())
broken.unlink()
print(attempt())
"""


def test_a_protection_that_fails_is_no_fault_of_the_program_and_is_tried_again(tmp_path: Path) -> None:
    """With a bwrap that fails as long as there is a certain file."""
    if not _works("bubblewrap"):
        pytest.skip("needs bubblewrap")
    broken, folder = tmp_path / "broken", tmp_path / "bin"
    folder.mkdir()
    real = shutil.which("bwrap")
    script = f'[ "$1" = --help ] || [ ! -e {broken} ] || {{ echo "bwrap: no namespaces left" >&2; exit 1; }}'
    (folder / "bwrap").write_text(f'#!/bin/sh\n{script}\nexec {real} "$@"\n')
    (folder / "bwrap").chmod(0o755)
    place = {"PATH": os.pathsep.join([str(folder), os.environ["PATH"]]), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FAILING, str(broken)]
    told = subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True, check=True).stdout
    failed = "the protection (bubblewrap) failed before the program began: bwrap: no namespaces left"
    assert told.splitlines() == [f"protection by bubblewrap is not available: {failed}", "42", failed, "42"]


@pytest.mark.parametrize(
    "limits",
    [
        {"seconds": 0},
        {"seconds": float("nan")},
        {"seconds": 3e6},
        {"memory": -1},
        {"cpu_seconds": 1.5},
        {"cpu_seconds": 1 << 70},
        {"output": 0},
        {"steps": 0},
        {"steps": 1.5},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(limits))):
        ProgramLimits(**limits)  # type: ignore[arg-type]


def test_a_protection_that_fails_is_not_tried_for_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces are forbidden, as in many containers, bubblewrap is there and never works."""
    tried: list[str] = []

    def fails(candidate: Protection) -> None:
        tried.append(candidate.kind)
        raise SandboxError("no namespaces")

    monkeypatch.setattr(protections, "_try", fails)
    monkeypatch.setattr(protections, "_failures", {})
    monkeypatch.delenv("INTACT_SANDBOX", raising=False)
    first = protection()
    once = list(tried)
    assert protection() == first
    assert tried == once
    protections._failures.update({key: (when - 61, why) for key, (when, why) in protections._failures.items()})
    protection()
    assert len(tried) == 2 * len(once)
