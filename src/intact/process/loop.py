"""The program of a worker process: answer requests one by one, each under limits.

A frame is a length (8 bytes, big-endian) and as many bytes. Requests are in the format of `marshal`, which keeps
Python's own types apart; they come from the parent, which trusts itself. Replies are JSON, which is safe to read
whatever became of this process. It runs without the package, so that it starts fast: only the standard library is
imported here.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import math
import os
import random
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

LENGTH = struct.Struct(">Q")


def receive() -> Any:
    """Return the next request, or None at the end."""
    head = sys.stdin.buffer.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return marshal.loads(sys.stdin.buffer.read(*LENGTH.unpack(head)))


def lower(limits: dict[str, int]) -> None:
    """Lower limits of this process for good."""
    for name, wanted in limits.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def limit_time(seconds: float) -> None:
    """Have the kernel end this process after so many seconds of processor time from now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1  # should the timer be lost
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)


def seed_generators() -> None:
    """Seed the generators that libraries share, so that no reply depends on the requests before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def load(program: str) -> dict[str, Callable[..., Any]]:
    """Import a file, and return the functions that its `start` gives."""
    spec = importlib.util.spec_from_file_location("program", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["program"] = module
    spec.loader.exec_module(module)
    functions: dict[str, Callable[..., Any]] = module.start()
    return functions


def main() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints is no reply

    def send(*reply: Any, most: int = 1 << 20) -> None:
        data = json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")
        if len(data) > most:
            data = json.dumps(["error", f"a reply of {len(data):,} bytes is longer than {most:,}"]).encode()
        replies.write(LENGTH.pack(len(data)))
        replies.write(data)
        replies.flush()

    program, folders, limits = receive()
    sys.path += [folder for folder in folders if folder not in sys.path]
    try:
        functions = load(program)
    except Exception as error:
        send("error", f"{type(error).__name__}: {error}")
        return
    lower(limits)
    send("done", None)
    while (request := receive()) is not None:
        name, given, seconds, most = request
        seed_generators()
        limit_time(seconds)
        try:
            reply = functions[name](*given)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send("done", reply, most=most)
        except MemoryError:
            send("memory")
            return
        except Exception as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            send("error", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
