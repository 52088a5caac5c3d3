#!/usr/bin/env python3
"""Print pip constraints that pin every direct dependency to the oldest version that pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
requirements = [
    *project["dependencies"],
    *(one for extra in project["optional-dependencies"].values() for one in extra),
]
floors: dict[str, str] = {}
for requirement in requirements:
    found = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([\w.]+)", requirement)
    if found:
        floors.setdefault(found[1].lower().replace("_", "-"), found[2])
for name, floor in sorted(floors.items()):
    print(f"{name}=={floor}")
