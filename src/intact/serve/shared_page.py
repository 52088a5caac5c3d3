"""The file that shows a shared conversation and verifies its receipts: one HTML document without a network.

It is written with an empty place for the data, which the page (or `fill`) puts in. It reuses the modules of the page
and the engine of the page that verifies receipts.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import intact
from intact._base.errors import NotInstalledError
from intact._base.markup import verify_page

FORMAT: Final = "intact-shared"
VERSION: Final = 1
PLACE: Final = '"intact-shared-data"'
"""The text in the template that the data replaces."""
_PAGE: Final = Path(__file__).parent / "page"
_STYLES: Final = ("style.css", "extras.css", "shared/style.css")
_EMBEDDED: Final = '<script type="text/plain" id="{name}">([^<]*)</script>'
_DEFAULT: Final = re.compile(r"^export ?\{ ?(\w+) as default ?\};", re.M)


@functools.cache
def template() -> str:
    """Return the document without data.

    Raises
    ------
    NotInstalledError
        If this installation lacks the WebAssembly module or a script.
    """
    verifying = verify_page.page()
    script = _script()
    style = "\n".join((_PAGE / name).read_text("utf-8") for name in _STYLES)
    policy = (
        f"default-src 'none'; script-src {_hash(script)} 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "version": html.escape(intact.__version__),
        "style": style,
        "script": script,
        "data": PLACE,
        "worker": _embedded(verifying, "worker"),
        "wasm": _embedded(verifying, "wasm"),
    }
    text = (_PAGE / "shared" / "index.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def fill(document: dict[str, Any]) -> str:
    """Return the whole file for a shared conversation.

    Parameters
    ----------
    document : dict
        The conversation, as `page/share.js` makes it. It is validated when the file is opened.
    """
    data = json.dumps(document, ensure_ascii=False).replace("<", "\\u003c")
    return template().replace(PLACE, data)


def _script() -> str:
    """Return the page's modules and the engine's as one classic script."""
    with tempfile.TemporaryDirectory() as folder:
        for file in _PAGE.rglob("*.js"):
            copy = Path(folder, "page", file.relative_to(_PAGE)).with_stem(file.stem.replace("-", "_"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text("utf-8")
            copy.write_text(
                _library(text) if file.parent.name == "vendor" else _module(text, copy, Path(folder)), "utf-8"
            )
        for name in ("src", "page"):
            shutil.copytree(verify_page.folder() / name, Path(folder, "js", name))
        return verify_page.joined(Path(folder, "page", "shared", "main.js"))


def _module(text: str, file: Path, root: Path) -> str:
    """Make a module's absolute imports relative, and file names part of identifiers, which `joined` expects."""
    above = "/" + "../" * (len(file.relative_to(root).parts) - 1)
    text = re.sub(r'^import "(/page/[^"]+)";', r'import {} from "\1";', text, flags=re.M)
    return re.sub(r'(?<=from ")/(?:page|js)/[^"]+', lambda found: f".{above}{found[0][1:].replace('-', '_')}", text)


def _library(text: str) -> str:
    """Prepare a vendored library for an inline script, in which `<!--` and `</script` have a meaning of their own."""
    return _DEFAULT.sub(r"export default \1;", text).replace("<!--", r"\x3c!--").replace("</script", r"\x3c/script")


def _embedded(page: str, name: str) -> str:
    found = re.search(_EMBEDDED.format(name=name), page)
    if found is None:
        raise NotInstalledError(f"the page that verifies receipts lacks its {name}; reinstall the package")
    return found[1]


def _hash(text: str) -> str:
    """Return the source expression for an inline text in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
