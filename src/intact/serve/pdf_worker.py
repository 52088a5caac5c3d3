"""Worker program that reads the text of PDF files (see `intact._base.process`)."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pypdf

logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns about every irregularity of a file


def start() -> Mapping[str, Callable[..., Any]]:
    """Return the functions of the worker."""
    return {"text": text}


def text(data: bytes, most_pages: int, most_characters: int) -> dict[str, Any]:
    """Return the text of a file's first pages, and the number of all pages.

    Returns
    -------
    dict
        `text`, `pages` (read), `of` (all pages), and `cut`: true if pages or characters were left out.
    """
    reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is encrypted with a password")
    of = len(reader.pages)
    parts: list[str] = []
    length = 0
    for number in range(min(of, most_pages)):
        parts.append(reader.pages[number].extract_text().strip())
        length += len(parts[-1]) + 2
        if length > most_characters:
            break
    whole = "\n\n".join(parts).encode("utf-8", "replace").decode()
    return {
        "text": whole[:most_characters],
        "pages": len(parts),
        "of": of,
        "cut": length > most_characters or of > len(parts),
    }
