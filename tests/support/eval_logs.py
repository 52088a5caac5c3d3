"""Logs of inspect_ai, changed in one place by a forger."""

import json
import zipfile
from pathlib import Path

from intact.integrations.inspect_log import InspectLog


def contents(path: Path) -> dict[str, bytes]:
    """Read all members of a log, in order."""
    with InspectLog(path) as log:
        return {name: log.read(name) for name in log._archive.namelist()}


def write_log(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    """Write a log."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return path


def sample_of(members: dict[str, bytes], name: str):
    """Return the JSON of a sample's file."""
    return json.loads(members[f"samples/{name}.json"])


def put(members: dict[str, bytes], name: str, sample) -> None:
    """Replace a sample's file."""
    members[f"samples/{name}.json"] = json.dumps(sample).encode()


def model_event(sample):
    """Return the first generation of a sample."""
    return next(event for event in sample["events"] if event["event"] == "model")
