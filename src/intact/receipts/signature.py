"""Ed25519 signatures of receipts (RFC 8032), by the package `cryptography`; keys in files of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from intact.errors import ReceiptError
from intact.receipts.fields import Fields

PUBLIC: Final = 32
VALUE: Final = 64


@dataclass(frozen=True)
class Signature:
    """A public key, and what its private key made of a receipt's digest."""

    key: bytes
    value: bytes

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {"key": self.key.hex(), "value": self.value.hex()}

    @classmethod
    def from_document(cls, value: Any) -> Signature:
        """Read it."""
        fields = Fields(value, "signature", ("key", "value"))
        return cls(_hex(fields, "key", PUBLIC), _hex(fields, "value", VALUE))


def _hex(fields: Fields, name: str, size: int) -> bytes:
    text = fields.text(name)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if found.hex() != text or len(found) != size:
        raise ReceiptError(f"{fields.place(name)} must be {2 * size} hexadecimal digits in lower case")
    return found
