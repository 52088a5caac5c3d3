"""A receipt's commitment to the rows between layers (docs/spec/receipts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from intact._base.strict_json import Fields

MOST_LAYERS: Final = 1 << 12


@dataclass(frozen=True)
class LayerCommitment:
    """A receipt's commitment to the rows between layers.

    Attributes
    ----------
    count : int
        The number of layers.
    root : bytes
        The Merkle root over the roots of all boundaries; there is one more boundary than there are layers.
    """

    count: int
    root: bytes

    def to_document(self) -> dict[str, Any]:
        """Return the commitment as a JSON object for the receipt."""
        return {"count": self.count, "root": self.root.hex()}

    @classmethod
    def from_document(cls, value: Any) -> LayerCommitment:
        """Parse the result of `to_document`."""
        fields = Fields(value, "layers", ("count", "root"))
        return cls(fields.integer("count", 1, MOST_LAYERS), fields.digest("root"))
