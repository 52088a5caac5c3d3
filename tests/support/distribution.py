"""The distribution's entry points as an installation has them, for tools that look for plug-ins."""

import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def write_distribution(folder: Path, *groups: str) -> Path:
    """Write the metadata of this distribution with its entry points of some groups; the folder goes on sys.path."""
    tables = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["entry-points"]
    place = folder / "intact_llm-0.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: intact-llm\nVersion: 0.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in tables[group].items()) for group in groups
    ]
    (place / "entry_points.txt").write_text("\n".join(lines))
    return folder
