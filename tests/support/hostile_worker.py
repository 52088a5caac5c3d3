"""The program of a worker process that misbehaves as it is told."""

import json
import os
import signal
import sys
import time
from pathlib import Path


def echo(value):
    return repr(value)


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def flood(count, head):
    """Write a reply of so many bytes that the loop knows nothing of; its head says that it has `head`."""
    file = replies()
    os.write(file, head.to_bytes(8, "big"))
    piece = b" " * (1 << 20)
    while count > 0:
        count -= os.write(file, piece[:count])
    time.sleep(600)


def replies():
    """The descriptor of the pipe that replies go to."""
    links = {file: Path(f"/proc/self/fd/{file}") for file in range(3, 16)}
    return next(file for file, link in links.items() if link.exists() and str(link.readlink()).startswith("pipe:"))


def hash_of(text):
    return hash(text)


def surroundings():
    import locale
    import random

    return [dict(os.environ), time.tzname[0], locale.getpreferredencoding(), random.random()]


def write(path):
    """Why a file cannot be written."""
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123
        try:
            file.write(b"x")
        except OSError as error:
            return error.strerror
    return None


def start():
    return {
        "echo": echo,
        "spin": spin,
        "flood": flood,
        "hash": hash_of,
        "surroundings": surroundings,
        "write": write,
        "fill": lambda size: len(b"x" * size),
        "long": lambda size: "x" * size,
        "die": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "sleep": time.sleep,
        "fail": lambda: json.loads("{"),
        "pid": os.getpid,
        "modules": lambda: sorted(name for name in sys.modules if name.startswith("intact")),
    }
