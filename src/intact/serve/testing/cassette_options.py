"""Options of pytest for cassettes; this module imports nothing that a suite without a cassette would wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

MODES = ("once", "new_episodes", "none", "all")
MISSING = ("fail", "ask", "answer")
MARKER = (
    "intact_cassette(record_mode=None, missing=None, allow_playback_repeats=None): settings of the cassette for a test"
)


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options of cassettes."""
    group.addoption(
        "--intact-cassette", metavar="FILE", type=Path, help="Replay requests to language models from FILE."
    )
    group.addoption(
        "--intact-record-mode", choices=MODES, help="Requests to record: of a new file (once), new ones, none, or all."
    )
    group.addoption(
        "--intact-missing", choices=MISSING,
        help="Answer to a request without a recording: an error, the endpoint's, or the local model's.",
    )  # fmt: skip
    group.addoption(
        "--intact-upstream",
        metavar="[API=]URL",
        action="append",
        default=[],
        help="Endpoint of clients whose address is set.",
    )
    group.addoption(
        "--intact-match-on", metavar="PART", action="append", default=[], help="Part of a request that must be equal."
    )
    group.addoption(
        "--intact-redact-field",
        metavar="NAME",
        action="append",
        default=[],
        help="Member whose values are not written.",
    )
    group.addoption("--intact-redact", metavar="REGEX", action="append", default=[], help="Texts that are not written.")


OPTIONS = (
    *("--intact-record-mode", "--intact-missing", "--intact-upstream"),
    *("--intact-match-on", "--intact-redact-field", "--intact-redact"),
)
"""Options that need `--intact-cassette`."""
