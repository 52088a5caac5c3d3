"""The page that verifies receipts in a browser: one HTML file with the JavaScript package and its WebAssembly module.

The file is self-contained, so it works from disk (`file://`), where browsers do not load modules and allow only workers
created from the page's own text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from intact._base.errors import FormatError, NotInstalledError

_INSTALLED = Path(__file__).parents[2] / "js"
"""Folder of the JavaScript package in a wheel (`wheel.packages` in pyproject.toml)."""
_SOURCE = Path(__file__).parents[4] / "js"
"""Folder of the same package in a checkout."""
WASM = Path("dist") / "intact.wasm"
"""The WebAssembly module in that package."""
CONFORMANCE = Path("dist") / "conformance.bin"
"""The conformance set, if `scripts/js_conformance.py` has written it."""

ISOLATION = {"cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp"}
"""Response headers that make browsers let the page compute on several threads that share memory."""

_IMPORT = re.compile(r'^import (?:(\w+)|\{([^}]*)\}) from "(\.[^"]+)";\n', re.M)
_EXPORT = re.compile(r"^export (?:async )?(?:class|function\*?|const|let) (\w+)", re.M)
_LISTED = re.compile(r"^export \{([^}]*)\};\n", re.M)
_LEFT = re.compile(r"^(?:import\b.*|export\b.*)$|import\.meta|</script|<!--", re.M)


def folder() -> Path:
    """Return the folder of the JavaScript package."""
    return _INSTALLED if _INSTALLED.is_dir() else _SOURCE


def page(wasm: Path | None = None) -> str:
    """Return the page as a single HTML document.

    Parameters
    ----------
    wasm : Path, optional
        The WebAssembly module; by default this installation's.

    Raises
    ------
    NotInstalledError
        If this installation lacks the module or a script; the message says how to build it.
    FormatError
        If the given file cannot be read, or is not a WebAssembly module.
    """
    js = folder()
    if not (js / "page").is_dir():
        raise NotInstalledError(
            f"{js / 'page'} is missing: this installation lacks the browser files; reinstall the package"
        )
    module = _module(wasm or js / WASM, given=wasm is not None)
    style = (js / "page" / "style.css").read_text("utf-8")
    script = joined(js / "page" / "main.js")
    policy = (
        f"default-src 'none'; script-src {_hash(script)} 'wasm-unsafe-eval'; worker-src blob:; "
        f"style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "style": style,
        "script": script,
        "worker": _base64(joined(js / "src" / "worker.js").encode()),
        "wasm": _base64(module),
    }
    text = (js / "page" / "index.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def joined(entry: Path) -> str:
    """Combine an ES module and all its imports into one classic script.

    Each module becomes a function that returns its exports; the functions run in import order.

    Raises
    ------
    FormatError
        If an import or export has an unsupported form.
    """
    names: dict[Path, str] = {}
    parts: list[str] = []

    def add(path: Path) -> str:
        if path in names:
            return names[path]
        text = path.read_text("utf-8")
        heads = []
        for default, listed, target in _IMPORT.findall(text):
            source = add((path.parent / target).resolve())
            heads.append(f"const {f'{{ default: {default} }}' if default else f'{{{listed}}}'} = {source};\n")
        text = _IMPORT.sub("", text)
        exported = _EXPORT.findall(text) + [name.strip() for one in _LISTED.findall(text) for name in one.split(",")]
        text = _LISTED.sub("", _EXPORT.sub(lambda found: found[0].removeprefix("export "), text))
        if text.count("\nexport default ") == 1:
            text = text.replace("\nexport default ", "\nconst defaultExport = ")
            exported.append("default: defaultExport")
        if (left := _LEFT.search(text)) is not None:
            raise FormatError(f"{path}: cannot bundle {left[0]!r}; expected `import {{ a }} from` or `export`")
        names[path] = f"m{len(names)}_{path.stem}"
        body = f"{''.join(heads)}{text}return {{ {', '.join(exported)} }};\n"
        parts.append(f"const {names[path]} = (() => {{\n{body}}})();\n")
        return names[path]

    add(entry.resolve())
    return '"use strict";\n' + "".join(parts)


def _module(path: Path, *, given: bool) -> bytes:
    try:
        module = path.read_bytes()
    except OSError as error:
        if given:
            raise FormatError(f"{path}: cannot be read ({error.strerror})") from None
        raise NotInstalledError(
            f"{path} is missing: this installation was built without the WebAssembly module. In a checkout, `pip "
            "install ziglang && python scripts/wasm.py` builds it; --wasm FILE uses one built elsewhere"
        ) from None
    if not module.startswith(b"\0asm"):
        raise FormatError(f"{path} is not a WebAssembly module: it begins with {module[:4]!r}; expected b'\\x00asm'")
    return module


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(text: str) -> str:
    """Return the source expression for an inline text in a content security policy."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"
