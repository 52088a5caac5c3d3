"""``intact page``: write the web page that verifies receipts in a browser, as a folder that works offline."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, note

EXAMPLES = """\
A page to open from disk or put on any server
  intact page --out verify
Use a WebAssembly module built elsewhere
  intact page --out verify --wasm js/dist/intact.wasm
"""


def command(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Output folder; it is created.", show_default=False)
    ],
    wasm: Annotated[
        Path | None,
        typer.Option("--wasm", metavar="FILE", help="WebAssembly module.", show_default="this installation's"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a page that verifies receipts in a browser, offline; readers do not need to install or trust anything."""
    from intact._base.files import write_whole
    from intact._base.markup.verify_page import CONFORMANCE, folder, page

    text = page(wasm)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "index.html"]
    write_whole(files[0], text)
    conformance = folder() / CONFORMANCE
    if conformance.exists():
        files.append(out / conformance.name)
        shutil.copyfile(conformance, files[-1])
    if json:
        emit({"files": [str(file) for file in files], "bytes": len(text.encode())})
    else:
        note(f"{files[0]}: open it in a browser, or serve the folder {out}")
