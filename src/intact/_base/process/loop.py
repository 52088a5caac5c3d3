"""The program of a worker process: answers requests one by one, each under limits.

A frame is a length (8 bytes, big-endian) followed by that many bytes. Requests use the `marshal` format, which
preserves Python's own types; they come from the trusted parent. Replies are JSON, which is safe to parse even if this
process was compromised. Only the standard library is imported here, not the package, so the process starts fast.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

LENGTH = struct.Struct(">Q")


def receive() -> Any:
    """Return the next request, or None at the end of input."""
    head = sys.stdin.buffer.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return marshal.loads(sys.stdin.buffer.read(*LENGTH.unpack(head)))


def seed_generators() -> None:
    """Seed the global generators of libraries, so that replies do not depend on earlier requests."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def import_file(name: str, path: str) -> ModuleType:
    """Import a file under a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Answer requests until the input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not be taken for a reply

    def send(*reply: Any, most: int = 1 << 20) -> None:
        data = json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")
        if len(data) > most:
            data = json.dumps(["error", f"the reply has {len(data):,} bytes, more than the limit of {most:,}"]).encode()
        replies.write(LENGTH.pack(len(data)))
        replies.write(data)
        replies.flush()

    program, folders, limits = receive()
    sys.path += [folder for folder in folders if folder not in sys.path]
    try:
        system = import_file("system", str(Path(__file__).parents[1] / "system.py"))
        functions: dict[str, Callable[..., Any]] = import_file("program", program).start()
    except Exception as error:
        send("error", f"{type(error).__name__}: {error}")
        return
    system.lower_limits(limits)
    send("done", None)
    while (request := receive()) is not None:
        name, given, seconds, most = request
        seed_generators()
        system.limit_processor_time(seconds)
        try:
            reply = functions[name](*given)
            system.limit_processor_time(0)
            send("done", reply, most=most)
        except MemoryError:
            send("memory")
            return
        except Exception as error:
            system.limit_processor_time(0)
            send("error", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
