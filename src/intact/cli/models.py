"""``intact models``: the catalogue, and what of it is here."""

from __future__ import annotations

from typing import Any

from intact.catalogue import CATALOGUE, DEFAULT, Entry, find, store
from intact.cli.options import JsonOption
from intact.cli.output import emit, new_table, out, show, size

EXAMPLES = """\
What there is
  intact models
The files that are here
  intact models --json | jq -r '.models[] | select(.here).path'
"""


def command(json: JsonOption = False) -> None:
    """List the models that have names: what is here, sizes, licences."""
    rows = [_row(entry) for entry in CATALOGUE.values()]
    if json:
        emit({"store": str(store()), "models": rows})
        return
    columns = "name", "here", "size", "licence", "from"
    table = new_table(*columns, right=["size"], whole=["name"])
    for row in rows:
        table.add_row(
            row["name"] + (" [dim](default)[/dim]" if row["default"] else ""),
            "[green]yes[/green]" if row["here"] else "",
            size(row["bytes"]),
            row["licence"],
            row["sources"][0].partition(" ")[0],
        )
    out().print(table)
    show(f"Any other GGUF file, or folder with safetensors, goes by its path. Store: {store()}", style="dim")


def _row(entry: Entry) -> dict[str, Any]:
    from intact.download import record

    path = find(entry.name)
    known = record(entry) if path else {}
    return {
        "name": entry.name,
        "default": entry.name == DEFAULT,
        "here": path is not None,
        "path": None if path is None else str(path),
        "bytes": entry.size if path is None else path.stat().st_size,
        "licence": entry.licence,
        "sources": [str(source) for source in entry.sources],
        "sha256": entry.sha256 or known.get("sha256"),
    }
