"""The hash functions of receipts, and digests of tokenizers and chat templates (docs/receipts.md)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np

from intact.errors import ParameterError, ReceiptError, install
from intact.formats.metadata import Strings
from intact.receipts import canonical

if TYPE_CHECKING:
    from intact.formats import Checkpoint
    from intact.text import Tokenizer

HashName = Literal["sha256", "blake3"]
HASHES: Final[tuple[HashName, ...]] = ("sha256", "blake3")
SIZE: Final = 32
"""Bytes of a digest."""


class Hash(Protocol):
    """What a hash function gives: bytes go in, a digest comes out."""

    def update(self, data: Any, /) -> Any:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The digest of all bytes so far."""


def new_hash(name: HashName) -> Hash:
    """Begin a digest.

    Raises
    ------
    ParameterError
        If there is no such function, or the package that has it is missing.
    """
    if name == "sha256":
        return hashlib.sha256()
    if name != "blake3":
        raise ParameterError(f"the hash must be one of {', '.join(HASHES)}, got {name!r:.40}")
    try:
        from blake3 import blake3
    except ImportError:
        raise ParameterError(f"BLAKE3 needs the package blake3: {install('receipts')}") from None
    made: Hash = blake3()
    return made


def digest(name: HashName, data: bytes) -> bytes:
    """The digest of some bytes."""
    made = new_hash(name)
    made.update(data)
    return made.digest()


def template_digest(name: HashName, tokenizer: Tokenizer) -> bytes | None:
    """The digest of a chat template, its text in UTF-8, and behind a byte 0xFF that of another for tools, if any."""
    template = tokenizer.chat_template
    if template is None:
        return None
    return digest(name, b"\xff".join(text.encode("utf-8", "surrogatepass") for text in template.sources))


def tokenizer_digest(name: HashName, checkpoint: Checkpoint, tokenizer: Tokenizer) -> bytes:
    """The digest of what turns a text into tokens and back.

    Raises
    ------
    ReceiptError
        If a file has gone, or holds what has no canonical form.
    """
    describe = _of_gguf if checkpoint.format == "gguf" else _of_folder
    return digest(name, canonical.encode(describe(name, checkpoint, tokenizer)))


def _of_gguf(name: HashName, checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    metadata: Mapping[str, Any] = checkpoint.metadata
    keys = [key for key in metadata if key.startswith("tokenizer.ggml.")]
    return {"format": "gguf", "metadata": {key: _plain(metadata[key], key) for key in keys}}


def _plain(value: Any, key: str) -> Any:
    """A value of metadata without floats: these become the hexadecimal digits of their binary64 bits."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            digits = value.astype(">f8").tobytes().hex()
            return [digits[at : at + 16] for at in range(0, len(digits), 16)]
        value = value.tolist()
    if isinstance(value, Strings):
        return value.tolist()
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, list | tuple):
        return [_plain(item, key) for item in value]
    if isinstance(value, bool | str) or (isinstance(value, int) and abs(value) <= canonical.LARGEST):
        return value
    raise ReceiptError(f"{key} holds {value!r:.60}, which has no place in a receipt")


def _of_folder(name: HashName, checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    file: Path = checkpoint.folder / "tokenizer.json"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ReceiptError(f"{file}: cannot be read again ({error}); a receipt needs its digest") from error
    prefix, suffix = tokenizer.around
    return {
        "format": "json",
        "file": digest(name, content).hex(),
        "bos": tokenizer.bos_id,
        "prefix": list(prefix),
        "suffix": list(suffix),
    }
