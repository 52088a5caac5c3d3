"""Parts of a result that the processes of pytest-xdist hand to the process that writes the file."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

_OUTPUT: Final = "intact_{}"


class ProcessParts:
    """The parts of one file.

    Parameters
    ----------
    config : pytest.Config
    name : str
        Name of the file's kind, such as ``lock``.

    Attributes
    ----------
    is_controller : bool
        If true, the tests run in other processes, whose parts this one merges.
    is_worker : bool
        If true, this process runs some of the tests.
    found : list
        The parts received so far.
    """

    def __init__(self, config: pytest.Config, name: str) -> None:
        self._config, self._name = config, _OUTPUT.format(name)
        self.is_worker = hasattr(config, "workerinput")
        self.is_controller = not self.is_worker and config.getoption("dist", "no") != "no"
        self.found: list[Any] = []

    def hand_over(self, value: Any) -> None:
        """Send this process's part, a JSON value; it arrives when the process ends."""
        self._config.workeroutput[self._name] = json.dumps(value)  # type: ignore[attr-defined]

    def receive(self, node: Any) -> None:
        """Take the part of a process that has ended; one that crashed has none."""
        text = getattr(node, "workeroutput", {}).get(self._name)
        if text is not None:
            self.found.append(json.loads(text))
