"""Run the command line in a process where distributions are not installed."""

import subprocess
import sys
from collections.abc import Collection

_START = """\
import importlib.metadata, sys

ABSENT = {names!r}
found = importlib.metadata.Distribution.from_name.__func__

def from_name(kind, name):
    if name in ABSENT:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(kind, name)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

importlib.metadata.Distribution.from_name = classmethod(from_name)
sys.meta_path.insert(0, Absent())
"""


def python_without(names: Collection[str], code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run code as if distributions, each with one package of its name, were not installed."""
    command = [sys.executable, "-c", _START.format(names=tuple(names)) + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def intact_without(name: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run ``intact`` as if the distribution `name`, which has one package of that name, were not installed."""
    return python_without([name], "from intact.cli import main\nmain()\n", *arguments)
