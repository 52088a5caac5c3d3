"""A file of receipts, one per line, to which the callbacks of several tools append; `intact verify` reads it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from intact._base.errors import ReceiptError
from intact._base.files import named_errors
from intact.receipts import canonical
from intact.receipts.document import Receipt, read_any
from intact.solving.receipts import PARSERS
from intact.solving.receipts.document import RunReceipt


class ReceiptFile:
    """A file of receipts; any thread may add to it.

    Parameters
    ----------
    path : path, optional
        The file; existing receipts are kept. Without one, receipts are only in `receipts`.

    Attributes
    ----------
    receipts : list of Receipt or RunReceipt
        The receipts that were added, in order.
    without : int
        Number of answers that had no receipt.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.receipts: list[Receipt | RunReceipt] = []
        self.without = 0
        self._lock = threading.Lock()
        if self.path is not None:
            with named_errors(self.path), self.path.open("ab"):
                pass

    def add(self, document: Mapping[str, Any] | None, text: str | None = None) -> Receipt | RunReceipt | None:
        """Append the receipt of an answer; None counts an answer without one.

        Parameters
        ----------
        document : mapping, optional
            The receipt as a JSON object.
        text : str, optional
            Text of the answer, which the receipt must contain.

        Raises
        ------
        ReceiptError
            If it is not a receipt, or the receipt of another text.
        """
        if document is None:
            with self._lock:
                self.without += 1
            return None
        try:
            line = canonical.encode(document)
        except (TypeError, ValueError) as error:
            raise ReceiptError(f"the answer's receipt is not JSON: {error!s:.100}") from error
        receipt = read_any(line, PARSERS)
        if text is not None and isinstance(receipt, Receipt) and text.strip() not in receipt.output.text:
            raise ReceiptError(
                f"the receipt is of another answer: it has {receipt.output.text!r:.60}, not {text!r:.60}"
            )
        with self._lock:
            if self.path is not None:
                with named_errors(self.path), self.path.open("ab") as file:
                    file.write(line + b"\n")
            self.receipts.append(receipt)
        return receipt
