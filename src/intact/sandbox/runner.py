"""What runs in the child, passed as text: it takes away its own rights, then runs the program."""

import gc
import json
import os
import random
import resource
import sys
import traceback
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
    del order
    gc.collect()
    status = 0
    try:
        exec(compile(text, "program.py", "exec", dont_inherit=True), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        status = MEMORY if isinstance(error, MemoryError) else 1
        below = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, below)
    sys.exit(status)


if __name__ == "__main__":
    main()
