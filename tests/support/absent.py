"""Run the command line in a process where a distribution is not installed."""

import subprocess
import sys

_START = """\
import importlib.metadata, sys

ABSENT = {name!r}
found = importlib.metadata.Distribution.from_name.__func__

def from_name(kind, name):
    if name == ABSENT:
        raise importlib.metadata.PackageNotFoundError(name)
    return found(kind, name)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == ABSENT:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

importlib.metadata.Distribution.from_name = classmethod(from_name)
sys.meta_path.insert(0, Absent())
from intact.cli import main
main()
"""


def intact_without(name: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run ``intact`` as if the distribution `name`, which has one package of that name, were not installed."""
    command = [sys.executable, "-c", _START.format(name=name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
