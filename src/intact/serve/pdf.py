"""Text of PDF files, read by pypdf in a worker process with limits on time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from intact._base.errors import FormatError
from intact._base.packages import check_installed
from intact._base.process import LimitReached, WorkerFailure, WorkerProcess

MOST_BYTES: Final = 5 << 20
MOST_PAGES: Final = 300
MOST_CHARACTERS: Final = 1 << 20
_SECONDS: Final = 30.0
_MEMORY: Final = 1 << 30
_START: Final = b"%PDF-"
_HEAD: Final = 1024
"""Number of bytes in which a file must begin, as in other readers."""

_worker = WorkerProcess(Path(__file__).with_name("pdf_worker.py"), "pypdf", seconds=_SECONDS, memory=_MEMORY)


class PdfText(NamedTuple):
    """The text of a PDF file.

    Attributes
    ----------
    pages, of : int
        Number of pages read, and of all pages.
    cut : bool
        If true, pages or characters were left out because of `MOST_PAGES` or `MOST_CHARACTERS`.
    """

    text: str
    pages: int
    of: int
    cut: bool


def read_text(data: bytes) -> PdfText:
    """Return the text of a PDF file; its content is not trusted.

    Raises
    ------
    NotInstalledError
        If pypdf is not installed.
    FormatError
        If the file is too large, is no PDF, has no text, is damaged or encrypted, or takes too much time or memory.
    """
    check_installed("reading PDF files", "pypdf")
    if len(data) > MOST_BYTES:
        raise FormatError(f"the PDF has {len(data):,} bytes; expected at most {MOST_BYTES:,}")
    if _START not in data[:_HEAD]:
        raise FormatError("the file is not a PDF: it does not begin with %PDF-")
    try:
        found = PdfText(**_worker.ask("text", data, MOST_PAGES, MOST_CHARACTERS))
    except LimitReached as error:
        raise FormatError(f"the PDF cannot be read within the limits: it {error}") from None
    except WorkerFailure as error:
        raise FormatError(f"the PDF cannot be read: {error!s:.200}") from None
    if not found.text.strip():
        raise FormatError(f"the PDF has no text on its {found.pages} pages; scanned pages need text recognition first")
    return found
