"""A signature holds for one receipt and one key; keys stay whole and to themselves."""

import builtins
import hashlib
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from intact._base.errors import ParameterError, ReceiptError
from intact.receipts.document import Receipt
from intact.receipts.signature import Signature, SigningKey, is_weak, new_key, public_key, read_key
from intact.receipts.verify import signature_of
from support.receipts import plain_receipt, rich_receipt


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "key")


def test_a_signature_holds_for_its_receipt_alone(key: SigningKey) -> None:
    receipt = rich_receipt()
    signed = receipt.signed(key.sign(receipt.digest))
    assert signed.digest == receipt.digest
    again = Receipt.parse(signed.encode())
    assert again == signed
    assert again.signature is not None
    assert again.signature.holds(again.digest)
    assert not again.signature.holds(plain_receipt().digest)
    assert key.sign(receipt.digest) == signed.signature


def test_what_is_signed_is_what_the_documentation_says(key: SigningKey) -> None:
    receipt = plain_receipt()
    document = json.loads(receipt.encode())
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).digest()
    public = ed25519.Ed25519PublicKey.from_public_bytes(key.public)
    public.verify(key.sign(receipt.digest).value, b"intact-receipt-signature-1\n" + digest)  # raises if it isn't


def test_no_other_bit_or_key_holds(key: SigningKey, tmp_path: Path) -> None:
    receipt = plain_receipt()
    signature = key.sign(receipt.digest)
    for at in range(0, 64, 7):
        value = bytearray(signature.value)
        value[at] ^= 1
        assert not replace(signature, value=bytes(value)).holds(receipt.digest)
    other = new_key(tmp_path / "other")
    assert not replace(signature, key=other.public).holds(receipt.digest)
    assert not replace(signature, key=b"\xff" * 32).holds(receipt.digest)  # no point of the curve


PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the base point: RFC 8032, section 5.1."""


def small_order() -> list[bytes]:
    """Every encoding of a point P of edwards25519 with 8 P = 0, canonical or not, found by the curve's own addition."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    root = pow(2, (PRIME - 1) // 4, PRIME)

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2) = a, b
        product = d * x1 * x2 * y1 * y2
        x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME)
        return x % PRIME, (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME) % PRIME

    def point(y: int) -> tuple[int, int] | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, PRIME) % PRIME
        x = pow(square, (PRIME + 3) // 8, PRIME)
        for root_of in (x, x * root % PRIME):
            if root_of * root_of % PRIME == square:
                return root_of, y
        return None

    found = {(0, 1)}
    for y in range(2, 40):  # a point, times the order of the base point: what is left has small order
        base, total = point(y), (0, 1)
        if base is not None:
            for bit in bin(ORDER)[2:]:
                total = add(total, total)
                total = add(total, base) if bit == "1" else total
            found |= {added for other in found for added in (add(total, other), total)}
    assert len(found) == 8
    keys = set()
    for x, y in found:
        for written in (y, y + PRIME):
            for sign in (0, 1) if x == 0 else (x & 1,):
                if written < 1 << 255:
                    keys.add((written | sign << 255).to_bytes(32, "little"))
    return sorted(keys)


SMALL = small_order()


def test_there_are_fourteen_keys_of_small_order() -> None:
    assert len(SMALL) == 14
    assert {int.from_bytes(key, "little") & ((1 << 255) - 1) for key in SMALL} >= {0, 1, PRIME - 1, PRIME, PRIME + 1}


@pytest.mark.parametrize("small", SMALL, ids=bytes.hex)
def test_nobody_signs_for_a_key_of_small_order(small: bytes, tmp_path: Path) -> None:
    """With S = 0 the equation is R = -h A, which holds for one message in eight at least, whatever it says."""
    receipt = plain_receipt()
    for point in SMALL:
        assert not Signature(small, point + bytes(32)).holds(receipt.digest)
    verdict = signature_of(receipt.signed(Signature(small, SMALL[0] + bytes(32))), None)
    assert verdict is not None
    assert (verdict.outcome, verdict.what, "anybody can sign" in verdict.detail) == ("false", "signature", True)
    (tmp_path / "key.pub").write_text(small.hex() + "\n")
    for name in (small.hex(), str(tmp_path / "key.pub")):
        with pytest.raises(ParameterError, match="anyone can sign for this public key"):
            public_key(name)


def test_a_key_has_one_form(key: SigningKey) -> None:
    """No y of the prime or more is read, be it of a point with a large order: y = p + 3 is another form of y = 3."""
    for above in range(19):
        assert is_weak((PRIME + above).to_bytes(32, "little"))
    assert not is_weak((3).to_bytes(32, "little"))
    assert not is_weak(key.public)


def test_a_signature_has_one_form(key: SigningKey) -> None:
    """S + L solves the equation that S solves: RFC 8032 has it refused (section 5.1.7, step 1)."""
    digest = plain_receipt().digest
    signature = key.sign(digest)
    assert signature.holds(digest)
    scalar = int.from_bytes(signature.value[32:], "little")
    for times in range(1, 16):
        other = (scalar + times * ORDER).to_bytes(32, "little")
        assert not replace(signature, value=signature.value[:32] + other).holds(digest)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {**s, "key": s["key"].upper()},
        lambda s: {**s, "value": s["value"][:-2]},
        lambda s: {**s, "value": s["value"] + "00"},
        lambda s: {"key": s["key"]},
        lambda s: None,
    ],
)
def test_misshapen_signatures_are_refused(key: SigningKey, change: Callable[[Any], Any]) -> None:
    receipt = plain_receipt()
    document = receipt.signed(key.sign(receipt.digest)).to_document()
    document["signature"] = change({**document["signature"], "key": "ab" * 32})
    with pytest.raises(ReceiptError, match="signature"):
        Receipt.parse(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def test_a_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    key = new_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert read_key(tmp_path / "key").public == key.public
    for name in (key.public.hex(), str(tmp_path / "key"), str(tmp_path / "key.pub")):
        assert public_key(name) == key.public
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(ParameterError, match="chmod 600"):
        read_key(tmp_path / "key")


@pytest.mark.parametrize("there", ["key", "key.pub"])
def test_no_key_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ParameterError, match=f"{there} already exists"):
        new_key(tmp_path / "key")
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [(there, "mine")]


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key"
    pem = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"ab" * 31, b"\xff" * 40, b"-----BEGIN PRIVATE KEY-----", pem, b"0" * 20000):
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(ParameterError, match="key"):
            read_key(file)
        with pytest.raises(ParameterError, match="key"):
            public_key(str(file))
    with pytest.raises(ParameterError, match="cannot be read"):
        public_key(str(tmp_path / "none"))
    with pytest.raises(ParameterError, match="cannot be written"):
        new_key(tmp_path / "no" / "folder")


def test_without_cryptography_the_extra_is_named(
    key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("cryptography", "blake3"):
            raise ImportError(name)
        return real(name, *rest)

    signature = key.sign(plain_receipt().digest)
    monkeypatch.setattr(builtins, "__import__", missing)
    for need in (
        lambda: new_key(tmp_path / "key"),
        lambda: read_key(tmp_path / "key"),
        lambda: signature.holds(bytes(32)),
        lambda: rich_receipt(hash="blake3").digest,
    ):
        with pytest.raises(ParameterError, match=r"pip install (cryptography|blake3)$"):
            need()
    assert not list(tmp_path.iterdir())
