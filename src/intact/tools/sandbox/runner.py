"""Program of the child process, passed as text: it drops its own privileges, then runs the code."""

import ast
import builtins
import collections
import contextlib
import functools
import gc
import itertools
import json
import linecache
import os
import random
import sys
import traceback
from types import CodeType
from typing import Any

STRICT_MODULES = """
    __future__ abc array ast base64 binascii bisect calendar cmath collections collections.abc contextlib
    copy csv ctypes dataclasses datetime decimal difflib enum errno fractions functools gc glob graphlib hashlib heapq
    html inspect io itertools json keyword linecache logging math numbers operator os os.path pathlib pickle
    pprint queue random re sched secrets shlex signal socket statistics string struct subprocess sys textwrap
    threading time timeit tokenize traceback types typing unicodedata urllib.parse uuid warnings weakref zlib _strptime
    encodings.ascii encodings.latin_1 encodings.utf_16 encodings.utf_32 encodings.idna
"""
"""Modules loaded in advance if no file can be opened afterwards."""

MEMORY = 86
"""Exit status of a program that ran out of memory."""

STEPS = 87
"""Exit status of a program that ran out of steps."""

STEP = "<step>"
"""Built-in function that counts a step; no program can write this name."""

WEIGH = "<weigh>"
"""Built-in function that counts steps for the size of an operator's result."""

SHOW = "<show>"
"""Built-in function that prints the value of a cell's last expression."""

GROWING = ast.Add, ast.Mult, ast.Pow, ast.LShift
STEP_BYTES = 1 << 13
"""Number of bytes of an integer or string that count as one step."""

LARGEST = 1 << 20
"""Maximum size of an integer in bytes; a larger one uses up all steps, since arithmetic on it takes seconds."""

OWN_PROCESS = (0x0BADC0DE).to_bytes(4, sys.byteorder)
"""Placeholder in a filter for the number of the process that loads it."""

STARTED = b"!"
"""Written over the order's first byte once all restrictions are in force."""

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2


def load_modules(names: str) -> int:
    """Load modules, and the source of all loaded modules for tracebacks; return the address space used, in bytes."""

    def size() -> int:
        try:
            with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123
                return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmSize:"))
        except OSError:
            return 0  # without /proc, modules count as the program's memory

    before = size()
    for name in names.split():
        __import__(name)
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path and path.endswith(".py"):
            with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not loaded in bubblewrap
                # An entry in this form is split into lines on demand, and its file is never accessed.
                linecache.cache[path] = (functools.partial(str, file.read()),)
    return size() - before


def limit(values: dict[str, int]) -> None:
    """Permanently lower the limits of this process."""
    if sys.platform == "win32":
        raise OSError("Windows has no resource limits")
    import resource

    for name, wanted in values.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # One second between the signal that the program can catch and the one that it cannot.
        over = 1 if name == "CPU" and value != hard else 0
        resource.setrlimit(kind, (value, value + over))


def restrict(program: bytes, parent: int | None) -> None:
    """Tie the process to its parent's lifetime, forbid new privileges, and load the system call filter.

    If `parent` is None, the parent is bubblewrap's first process, which no other process can outlive.
    """
    import ctypes

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int, more: Any = 0) -> None:
        if libc.prctl(option, ctypes.c_ulong(value), more, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")

    prctl(PR_SET_PDEATHSIG, 9)
    if parent is not None and os.getppid() != parent:
        os._exit(1)  # the parent is already dead
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if program:
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Filter(len(program) // 8, program)))


def compile_counted(text: str, show: bool = False) -> CodeType:
    """Compile a program so that it calls `STEP` in each loop iteration and at each function entry.

    The positions follow from the syntax tree, so the count is the same in every version of Python. If `show` is true
    and the last statement is an expression, `SHOW` is called with its value.
    """
    tree = ast.parse(text, "program.py")
    if show and tree.body and isinstance(last := tree.body[-1], ast.Expr):
        name = ast.copy_location(ast.Name(SHOW, ast.Load()), last)
        last.value = ast.copy_location(ast.Call(name, [last.value], []), last)
    for node in ast.walk(tree):  # collects a node's children before yielding it, so new nodes are not visited
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            node.body.insert(0, ast.copy_location(ast.Expr(call_step(node.body[0])), node.body[0]))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = 0 if ast.get_docstring(node, clean=False) is None else 1
            node.body.insert(first, ast.copy_location(ast.Expr(call_step(node.body[0])), node.body[0]))
        elif isinstance(node, ast.Lambda):
            node.body = ast.copy_location(ast.BoolOp(ast.And(), [call_step(node.body), node.body]), node.body)
        elif isinstance(node, ast.comprehension):
            node.ifs.insert(0, call_step(node.target))
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                statements[:] = [part for statement in statements for part in (statement, *weighing(statement))]
    return compile(tree, "program.py", "exec", dont_inherit=True)


def weighing(statement: ast.stmt) -> list[ast.stmt]:
    """Return a call of `WEIGH` on the names to which a statement assigns a growing value, if any."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, GROWING):
        targets = [statement.target]
    elif isinstance(statement, ast.Assign):
        parts = ast.walk(statement.value)
        if any(isinstance(part, ast.BinOp) and isinstance(part.op, GROWING) for part in parts):
            targets = statement.targets
    stored = [part for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    names = [part.id for part in stored if isinstance(part.ctx, ast.Store)]
    if not names:
        return []
    function = ast.copy_location(ast.Name(WEIGH, ast.Load()), statement)
    values: list[ast.expr] = [ast.copy_location(ast.Name(name, ast.Load()), statement) for name in names]
    call = ast.copy_location(ast.Call(function, values, []), statement)
    return [ast.copy_location(ast.Expr(call), statement)]


def call_step(place: ast.AST) -> ast.expr:
    """Return a call of `STEP`, which returns True, at the position of another node."""
    name = ast.copy_location(ast.Name(STEP, ast.Load()), place)
    return ast.copy_location(ast.Call(name, [], []), place)


def count_steps(limit: int) -> None:
    """Define `STEP`: it ends the process once called more than `limit` times, and no program can catch that.

    Until then it is a method of an object written in C, so it is cheap and adds no stack frame. `WEIGH` takes steps for
    large integers and strings, so that a loop in which they keep growing ends before its time runs out.
    """
    streams = sys.stdout, sys.stderr

    def end() -> None:
        # Without room on the stack this raises, and the next step calls it again.
        for stream in streams:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(STEPS)

    steps = itertools.chain(itertools.repeat(True, limit), iter(end, True))

    def weigh(*values: object) -> None:
        for value in values:
            if type(value) is int:
                size = value.bit_length() >> 3
            elif type(value) is str or type(value) is bytes:
                size = len(value)
            else:
                continue
            if size >= STEP_BYTES:
                taken = limit + 1 if type(value) is int and size > LARGEST else size // STEP_BYTES
                collections.deque(itertools.islice(steps, taken), 0)

    setattr(builtins, STEP, steps.__next__)
    setattr(builtins, WEIGH, weigh)


def show_value(value: object) -> None:
    """Print a value like an interactive interpreter: nothing for None."""
    if value is not None:
        print(repr(value))


def run_silently(cells: list[str], names: dict[str, Any], mark: bytes) -> None:
    """Run the earlier cells of a session, ignoring exceptions; output before the mark is discarded."""
    streams = sys.stdout, sys.stderr
    for cell in cells:
        with contextlib.suppress(BaseException):
            exec(compile_counted(cell, show=True), names)
    for stream in streams:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            os.write(descriptor, mark)


def main() -> None:
    """Read the order from the descriptor named in the arguments, and execute it."""
    paper = int(sys.argv[1])
    with os.fdopen(paper, "rb", closefd=False) as file:
        order = json.load(file)
    if order["strict"]:
        # In a function of its own: a loop here would let the interpreter specialise the calls below it, and a program
        # could nest one call deeper than in bubblewrap.
        order["limits"]["AS"] += load_modules(STRICT_MODULES)
    limit(order["limits"])
    if order["kind"] != "bubblewrap" or order["filter"]:
        own = os.getpid().to_bytes(4, sys.byteorder)
        restrict(bytes.fromhex(order["filter"]).replace(OWN_PROCESS, own), order["parent"])
    os.lseek(paper, 0, os.SEEK_SET)
    os.write(paper, STARTED)  # from here on, the program is responsible
    os.close(paper)
    random.seed(0)
    sys.argv = ["program.py"]
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    if order.get("command"):
        # The limits and the filter stay with the process.
        os.execv(order["command"][0], order["command"])
    *before, text = order["cells"]
    mark = order["mark"].encode()
    count_steps(order["steps"])
    del order
    gc.collect()
    status = 0
    if mark:
        setattr(builtins, SHOW, show_value)
        run_silently(before, module.__dict__, mark)
    try:
        exec(compile_counted(text, show=bool(mark)), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        status = MEMORY if isinstance(error, MemoryError) else 1
        below = error.__traceback__
        while below is not None and below.tb_frame.f_code.co_filename != "program.py":
            below = below.tb_next
        traceback.print_exception(type(error), error, below)
    sys.exit(status)


if __name__ == "__main__":
    main()
