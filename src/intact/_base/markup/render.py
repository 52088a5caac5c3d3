"""HTML templates that escape all text, since models may write anything."""

from __future__ import annotations

import re
import reprlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jinja2 import Environment

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = 60


def quoted(text: str) -> str:
    """Return a string in quotes on one line, with the middle omitted if it is long."""
    return _SHORT.repr(text)


def render(template: str, **values: Any) -> str:
    """Render a template from this folder."""
    return environment("intact._base", "markup").get_template(template).render(**values)


@cache
def environment(package: str, folder: str) -> Environment:
    """Return the template environment of a folder in a package; control characters in strings become U+FFFD."""
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader(package, folder),
        autoescape=True,
        finalize=without_controls,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def visible(text: str) -> str:
    """Replace characters that HTML, XML and SVG do not allow with U+FFFD."""
    return _CONTROL.sub("\ufffd", text)


def without_controls(value: object) -> object:
    """Replace disallowed characters; markup that the template made from such strings is left unchanged."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
