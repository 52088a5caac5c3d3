"""Ed25519 signatures of receipts (RFC 8032), using the package `cryptography`; each key has its own file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import NotInstalledError, ParameterError
from intact._base.packages import install
from intact._base.strict_json import Fields

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_SUFFIX: Final = ".pub"
_CONTEXT: Final = b"intact-receipt-signature-1\n"
_PUBLIC: Final = 32
_VALUE: Final = 64
_PRIME: Final = (1 << 255) - 19
_EIGHTH: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER: Final = frozenset({0, 1, _PRIME - 1, _EIGHTH, _PRIME - _EIGHTH})
"""The y coordinates of the eight points P of edwards25519 with 8 P = 0: of order 4, 1, 2, and 8 twice."""
_LARGEST: Final = 1 << 14
"""Maximum size of a key file in bytes."""


@dataclass(frozen=True)
class Signature:
    """A public key, and its signature of a receipt's digest."""

    key: bytes
    value: bytes

    def to_document(self) -> dict[str, Any]:
        """Return the signature as a JSON object for the receipt."""
        return {"key": self.key.hex(), "value": self.value.hex()}

    @classmethod
    def from_document(cls, value: Any) -> Signature:
        """Parse the result of `to_document`."""
        fields = Fields(value, "signature", ("key", "value"))
        return cls(fields.digits("key", _PUBLIC), fields.digits("value", _VALUE))

    def holds(self, digest: bytes) -> bool:
        """Return true if the key's owner signed a receipt's digest; always false for a key that `is_weak`.

        Raises
        ------
        ParameterError
            If the package `cryptography` is missing.
        """
        _need_cryptography()
        if is_weak(self.key):
            return False
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.value, _CONTEXT + digest)
        except (InvalidSignature, ValueError):
            return False
        return True


def is_weak(key: bytes) -> bool:
    """Return true for a public key that has no private key, or that is not in its only valid form.

    For a point of small order, a signature that is valid for any message can be made without a private key: for the
    neutral element, R = 0 and S = 0. A y of 2^255 - 19 (the prime) or more is another form of a smaller y (RFC 8032,
    section 5.1.3, step 1); the invalid forms with x = 0 and the sign bit set also belong to points of small order.

    Chalkias, Garillot, Nikolaenko: Taming the many EdDSAs (2020), sections 3 and 5.
    """
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    return y >= _PRIME or y in _SMALL_ORDER


class SigningKey:
    """A private key, created by `new_key` or `read_key`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> bytes:
        """The public key: 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, digest: bytes) -> Signature:
        """Sign a receipt's digest; signing is deterministic."""
        return Signature(self.public, self._key.sign(_CONTEXT + digest))


def new_key(path: Path) -> SigningKey:
    """Create a key in a file that only its owner can read, and write the public key to `path`.pub.

    Raises
    ------
    ParameterError
        If one of the files already exists or cannot be written, or the package `cryptography` is missing.
    """
    _need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    made = SigningKey(private)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_file = path.with_name(path.name + PUBLIC_SUFFIX)
    if public_file.exists():
        raise ParameterError(f"{public_file} already exists; keys are never overwritten: choose another name")
    _write_new(path, pem, 0o600)
    try:
        _write_new(public_file, made.public.hex().encode() + b"\n", 0o644)
    except ParameterError:
        path.unlink()
        raise
    return made


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise ParameterError(f"{path} already exists; keys are never overwritten: choose another name") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
    except OSError as error:
        path.unlink()
        raise ParameterError(f"{path} cannot be written ({error.strerror})") from error


def read_key(path: Path) -> SigningKey:
    """Read a private key.

    Raises
    ------
    ParameterError
        If it is not an Ed25519 key in PEM format without a password, other users can read it, or `cryptography` is
        missing.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _content(path)
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ParameterError(f"{path}: other users can access this private key; expected mode 600: chmod 600")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ParameterError(
            f"{path} is not an unencrypted Ed25519 private key in PEM format (intact keys new makes one)"
        )
    return SigningKey(key)


def public_key(name: str) -> bytes:
    """Return the public key given by a user: 64 hexadecimal digits, or a file that contains them or a private key.

    Raises
    ------
    ParameterError
        If the value is neither, or the key `is_weak`.
    """
    found = _digits(name)
    if found is None:
        path = Path(name)
        data = _content(path)
        if data.startswith(b"-----BEGIN"):
            return read_key(path).public
        found = _digits(data.decode("ascii", "replace"))
    if found is None:
        raise ParameterError(
            f"{name:.80} is not a public key; expected {2 * _PUBLIC} hexadecimal digits, or a file with them"
        )
    if is_weak(found):
        raise ParameterError(
            f"{found.hex()}: anyone can sign for this public key; expected one made by intact keys new"
        )
    return found


def _digits(text: str) -> bytes | None:
    try:
        found = bytes.fromhex(text.strip())
    except ValueError:
        return None
    return found if len(found) == _PUBLIC else None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path} cannot be read ({error}); expected a key file") from error
    if len(data) > _LARGEST:
        raise ParameterError(f"{path} is too large for a key file")
    return data


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise NotInstalledError(f"signatures need the package cryptography: {install('cryptography')}") from None
