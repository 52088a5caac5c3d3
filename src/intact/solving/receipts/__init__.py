"""Receipts of whole runs of a method: every text and score behind an answer, and the vote (docs/spec/receipts.md).

`document`, `header`, `entries`, `claims`, `problems`, `prompts`, `mixes`, `tools`, `programs`, `together`, `values` and
`schema` are the members of a receipt of a run; `record` writes one while a method runs, `replay` and `sealed` run it
again from the receipt alone, `verify` and `verdict` judge, `versions` and `packages` state the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from intact.solving.receipts.document import RunReceipt

FORMAT: Final = "intact-run-receipt"


def _parse(data: bytes) -> RunReceipt:
    from intact.solving.receipts.document import RunReceipt

    return RunReceipt.parse(data)


PARSERS: Final[Mapping[str, Callable[[bytes], RunReceipt]]] = {FORMAT: _parse}
"""The parser of this package's format, for `intact.receipts.document.read_any`; it is imported on first use."""
