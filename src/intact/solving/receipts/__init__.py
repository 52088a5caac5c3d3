"""Receipts of whole method runs: every completion and score behind an answer, and the vote (docs/spec/receipts.md).

`document`, `header`, `entries`, `claims`, `problems`, `prompts`, `mixes`, `tools`, `programs`, `together`, `values` and
`schema` define the members of a run's receipt; `record` writes a receipt while a method runs, `replay` and `sealed`
rerun the method from the receipt alone, `verify` and `verdict` judge the receipt, and `versions` and `packages`
identify the code.
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
"""The parser of this package's format, for `intact.receipts.document.read_any`; imported on first use."""
