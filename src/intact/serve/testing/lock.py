"""The lock file of a test suite: the requests of each test, and their answers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from intact._base.errors import LockError
from intact.serve.exchange import first_difference

FORMAT, VERSION = "intact-test-lock", 1


def read_lock(path: Path, may_be_new: bool) -> dict[str, Any]:
    """Read a lock file.

    Raises
    ------
    LockError
        If it cannot be read, or is not a lock file.
    """
    if may_be_new and not path.exists():
        return {"model": None, "fingerprint": None, "tests": {}}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LockError(f"{path} cannot be read: {error.strerror}; --intact-lock-update creates it") from error
    except ValueError as error:
        raise LockError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise LockError(f"{path} is not a lock of test answers; expected {FORMAT!r} as its format")
    if value.get("version") != VERSION:
        raise LockError(f"{path} has version {value.get('version')!r:.20}, but this version of intact reads {VERSION}")
    for name in ("model", "fingerprint"):
        if not isinstance(value.get(name), str | None):
            raise LockError(f"{path}: {name} is {value[name]!r:.40}; expected a string")
        value.setdefault(name, None)
    tests = value.get("tests")
    if not isinstance(tests, dict) or not all(map(_is_locked, tests.values())):
        raise LockError(f"{path} is damaged: expected path, request, asked and answer of each request of its tests")
    return value


def _is_locked(requests: Any) -> bool:
    """Return true if a test's requests have the form of `Exchange.to_dict`."""
    return isinstance(requests, list) and all(
        isinstance(one, dict) and isinstance(one.get("answer"), dict) and {"path", "request", "asked"} <= one.keys()
        for one in requests
    )


def difference(locked: list[dict[str, Any]] | None, found: list[dict[str, Any]]) -> str:
    """Describe in a few lines how answers differ from the lock's; empty if they do not.

    The order of requests does not matter: a test may send several at a time.
    """
    if locked is None:
        return f"the lock has no answers for this test, which asked {len(found)} times" if found else ""
    left = list(locked)
    for number, one in enumerate(found, 1):
        same = next((two for two in left if two == one), None) or next(
            (two for two in left if two["request"] == one["request"]), None
        )
        if same is None:
            return f"request {number} of {len(found)} is not in the lock: {one['path']}\n  asked … {one['asked']}"
        left.remove(same)
        for place in sorted({*same["answer"], *one["answer"]}):
            before, now = same["answer"].get(place), one["answer"].get(place)
            if before != now:
                parting = first_difference(before, now)
                return f"the answer to request {number} changed at {place}\n  asked … {one['asked']}\n{parting}"
    paths = Counter(one["path"] for one in left)
    return (
        "requests of the lock were not sent: " + ", ".join(f"{n} to {path}" for path, n in paths.items())
        if left
        else ""
    )
