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

from intact.errors import ParameterError, ReceiptError
from intact.receipts.document import Receipt
from intact.receipts.signature import SigningKey, new_key, public_key, read_key
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
    with pytest.raises(ParameterError, match=f"{there} is there already"):
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
        with pytest.raises(ParameterError, match=r"pip install '\.\[receipts\]'"):
            need()
    assert not list(tmp_path.iterdir())
