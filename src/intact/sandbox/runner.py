"""What runs in the child, passed as text: it takes away its own rights, then runs the program."""

import ast
import builtins
import contextlib
import gc
import itertools
import json
import os
import random
import resource
import sys
import traceback
from types import CodeType
from typing import Any

STRICT_MODULES = """
    __future__ abc array ast bisect calendar cmath collections collections.abc contextlib copy csv ctypes
    dataclasses datetime decimal difflib enum fractions functools gc hashlib heapq inspect io itertools json
    keyword linecache math numbers operator os os.path pprint random re sched secrets statistics string struct
    sys textwrap time timeit tokenize traceback types typing unicodedata warnings weakref zlib _strptime
    encodings.ascii encodings.latin_1 encodings.utf_16 encodings.utf_32 encodings.idna
"""
"""Loaded beforehand where no file may be opened afterwards."""

MEMORY = 86
"""Exit status of a program that ran out of memory."""

STEPS = 87
"""Exit status of a program that ran out of steps."""

STEP = "<step>"
"""The built-in function that counts a step; no program can write such a name."""

STARTED = b"!"
"""Written over the order's first byte once all is in force."""

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2


def limit(values: dict[str, int]) -> None:
    """Lower the limits of this process for good."""
    for name, wanted in values.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # one second between the signal that the program may catch and the one that it may not
        over = 1 if name == "CPU" and value != hard else 0
        resource.setrlimit(kind, (value, value + over))


def restrict(program: bytes) -> None:
    """Die with the parent, gain no rights, and make only the system calls that the filter lets through."""
    import ctypes

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int, more: Any = 0) -> None:
        if libc.prctl(option, ctypes.c_ulong(value), more, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")

    prctl(PR_SET_PDEATHSIG, 9)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if program:
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Filter(len(program) // 8, program)))


def compile_counted(text: str) -> CodeType:
    """Compile a program so that it calls `STEP` in each iteration of a loop and at each entry of a function.

    The syntax tree decides where, so that the count is the same with every version of Python.
    """
    tree = ast.parse(text, "program.py")
    for node in ast.walk(tree):  # which looks at a node's children before it gives the node: ours are not among them
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            node.body.insert(0, ast.copy_location(ast.Expr(call_step(node.body[0])), node.body[0]))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            behind = 0 if ast.get_docstring(node, clean=False) is None else 1
            node.body.insert(behind, ast.copy_location(ast.Expr(call_step(node.body[0])), node.body[0]))
        elif isinstance(node, ast.Lambda):
            node.body = ast.copy_location(ast.BoolOp(ast.And(), [call_step(node.body), node.body]), node.body)
        elif isinstance(node, ast.comprehension):
            node.ifs.insert(0, call_step(node.target))
    return compile(tree, "program.py", "exec", dont_inherit=True)


def call_step(place: ast.AST) -> ast.expr:
    """Return a call of `STEP`, which gives True, at the place of another node."""
    name = ast.copy_location(ast.Name(STEP, ast.Load()), place)
    return ast.copy_location(ast.Call(name, [], []), place)


def count_steps(limit: int) -> None:
    """Define `STEP`: it ends the process when it is called once more than `limit`, which no program can catch.

    Until then it is a method of an object written in C: it costs little, and adds no frame to the program's.
    """
    streams = sys.stdout, sys.stderr

    def end() -> None:
        # where the program has left no room on the stack this raises, and is called again by the next step
        for stream in streams:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(STEPS)

    setattr(builtins, STEP, itertools.chain(itertools.repeat(True, limit), iter(end, True)).__next__)


def main() -> None:
    """Read the order from the descriptor named in the arguments, and carry it out."""
    paper = int(sys.argv[1])
    with os.fdopen(paper, "rb", closefd=False) as file:
        order = json.load(file)
    if order["strict"]:
        for name in STRICT_MODULES.split():
            __import__(name)
    limit(order["limits"])
    if order["kind"] != "bubblewrap" or order["filter"]:
        restrict(bytes.fromhex(order["filter"]))
    os.lseek(paper, 0, os.SEEK_SET)
    os.write(paper, STARTED)  # from here on what happens is the program's doing
    os.close(paper)
    random.seed(0)
    sys.argv = ["program.py"]
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    text = order["code"]
    count_steps(order["steps"])
    del order
    gc.collect()
    status = 0
    try:
        exec(compile_counted(text), module.__dict__)
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
