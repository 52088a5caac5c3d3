"""Other interpreters of this machine, for what must not depend on the version of Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

WANTED = ("3.11", "3.12", "3.13")
SOURCES = Path(__file__).parents[2] / "src"


@cache
def interpreters() -> dict[str, str]:
    """The executables that are found, of the versions wanted, by version; that of the tests is among them."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = {own: sys.executable}
    for version in WANTED:
        for place in _places(version):
            asked = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            if version not in found and _output(asked, "").strip() == version:
                found[version] = place
    return found


def outputs(program: str, stdin: str = "") -> dict[str, str]:
    """What a program, which imports no more of this package than needs no library, prints under each interpreter.

    Skips the test where there is only one.
    """
    import pytest  # scripts find interpreters here too, without it

    found = interpreters()
    if len(found) == 1:
        pytest.skip(f"only Python {next(iter(found))} is here; wanted are others of {', '.join(WANTED)}")
    return {version: _output([place, "-W", "ignore", "-c", program], stdin) for version, place in found.items()}


def _places(version: str) -> Iterator[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(place) for place in sorted((root / "versions").glob(f"{version}.*/bin/python")))
    found = shutil.which(f"python{version}")
    if found is not None:
        yield found


def _output(command: list[str], stdin: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, input=stdin, capture_output=True, encoding="utf-8", env=environment, check=False)
    return done.stdout if done.returncode == 0 else f"failed: {done.stderr}"
