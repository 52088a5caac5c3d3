"""The receipt of one answer: its parts as values, its chain of digests, and its canonical form (docs/spec/receipts.md).

The chain has a link of 32 bytes for each token of the output:

  link 0 = H("intact-receipt-chain-1" LF, the header's digest)
  link i = H(link i - 1, token i as four bytes, the head input that produced the logits token i was sampled from)

A link binds everything before it, so the first false link shows where an answer diverges from the computation.
"""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from intact._base.errors import ReceiptError
from intact._base.files import write_whole
from intact._base.strict_json import Fields, check_kind
from intact.receipts import canonical
from intact.receipts.canonical import HASHES, SIZE, HashName, digest
from intact.receipts.commitment import LayerCommitment
from intact.receipts.model_digests import ModelDigests, Numerics
from intact.receipts.request import AnswerRequest
from intact.receipts.signature import Signature

FORMAT: Final = "intact-receipt"
VERSION: Final = 1
Finish = Literal["stop", "uncertain", "unlikely", "length", "context"]
FINISHES: Final[tuple[Finish, ...]] = ("stop", "uncertain", "unlikely", "length", "context")
Cut = Literal["cancelled"]
"""An additional stop reason for the outputs of runs: another output won the race."""
Other = TypeVar("Other")
"""A receipt of another kind."""
_CHAIN: Final = b"intact-receipt-chain-1\n"
_HEADER: Final = ("format", "version", "hash", "model", "numerics", "request")
_LOGPROB: Final = 1 << 48
_NO_OTHERS: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Output:
    """The answer.

    Attributes
    ----------
    tokens : tuple of int
        All sampled tokens, including the one that ended the output.
    finish : {'stop', 'uncertain', 'unlikely', 'length', 'context', 'cancelled'}
        An end token or stop string, `stop_below`, `stop_mean_below`, `max_tokens`, or the end of the context;
        'cancelled' only for an output of a run that lost the race to another one.
    text : str
        The text of the tokens, without the stop string or end token.
    logprobs : tuple of int or None
        Natural log-probabilities of the tokens under the model, times 2^24.
    top : bytes or None
        The likeliest tokens at each position (`intact.receipts.likeliest`). Only outputs of runs have them, and they
        are stored in the run's receipt.
    spread : bytes or None
        The spread of the distribution at each position (`intact.receipts.spreads`); also only for outputs of runs.
    """

    tokens: tuple[int, ...]
    finish: Finish | Cut
    text: str
    logprobs: tuple[int, ...] | None = None
    top: bytes | None = None
    spread: bytes | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the output as a JSON object for the receipt."""
        logprobs = None if self.logprobs is None else list(self.logprobs)
        return {"tokens": list(self.tokens), "finish": self.finish, "text": self.text, "logprobs": logprobs}

    @classmethod
    def from_document(cls, value: Any, finishes: Sequence[Finish | Cut] = FINISHES) -> Output:
        """Parse the result of `to_document`."""
        fields = Fields(value, "output", ("tokens", "finish", "text", "logprobs"))
        tokens = fields.integers("tokens", shortest=1)
        logprobs = fields.maybe("logprobs", lambda name: fields.integers(name, -_LOGPROB, 0))
        if logprobs is not None and len(logprobs) != len(tokens):
            fields.fail("logprobs", "a list with a number for each token")
        return cls(tokens, fields.choice("finish", finishes), fields.text("text"), logprobs)


@dataclass(frozen=True)
class Header:
    """Everything that determines an answer: model, arithmetic and request. Its digest seeds the chain."""

    model: ModelDigests
    numerics: Numerics
    request: AnswerRequest
    hash: HashName = "sha256"

    def to_document(self) -> dict[str, Any]:
        """Return the header as a JSON object for the receipt."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "hash": self.hash,
            "model": self.model.to_document(),
            "numerics": self.numerics.to_document(),
            "request": self.request.to_document(),
        }

    @cached_property
    def digest(self) -> bytes:
        """The digest of the header's canonical form."""
        return digest(self.hash, canonical.encode(self.to_document()))


@dataclass(frozen=True, kw_only=True)
class AnyReceipt(ABC):
    """Base class of all kinds of receipts: parsing, writing, signing and saving.

    Attributes
    ----------
    signature : Signature or None
        The signature of `digest`, if the receipt is signed.
    """

    signature: Signature | None = None

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a receipt; its content is not trusted.

        Raises
        ------
        NewerReceiptError
            If the receipt has a later version.
        ReceiptError
            If it is not a valid receipt: too large, not canonical JSON, or with a missing, unknown or invalid member.
        """
        value = canonical.read(data, "the receipt")
        receipt = cls.from_document(value)
        if "signature" in value:
            receipt = receipt.signed(Signature.from_document(value["signature"]))
        canonical.require_canonical(receipt.to_document(), data, "the receipt")
        return receipt

    @classmethod
    @abstractmethod
    def from_document(cls, value: Any) -> Self:
        """Parse the members of a receipt; an optional signature is ignored."""

    @property
    def digest(self) -> bytes:
        """The digest that is signed: by default, SHA-256 of the canonical form without the signature."""
        return digest("sha256", canonical.encode(self.unsigned()))

    @abstractmethod
    def unsigned(self) -> dict[str, Any]:
        """Return the receipt as a JSON object, without the signature."""

    def to_document(self) -> dict[str, Any]:
        """Return the receipt as a JSON object."""
        signature = {} if self.signature is None else {"signature": self.signature.to_document()}
        return self.unsigned() | signature

    def encode(self) -> bytes:
        """Serialise the receipt in canonical form.

        Raises
        ------
        ReceiptError
            If the result would be larger than a receipt may be.
        """
        data = canonical.encode(self.to_document())
        canonical.check_size(data, "the receipt")
        return data

    def signed(self, signature: Signature | None) -> Self:
        """Return the same receipt with this signature."""
        return replace(self, signature=signature)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the receipt to a file, as `write_receipts` does."""
        write_receipts(Path(path), [self])


@dataclass(frozen=True)
class Receipt(AnyReceipt):
    """One answer, and the chain of digests that binds each of its positions to the computation.

    Attributes
    ----------
    chain : bytes
        A link of 32 bytes for each token of the output.
    layers : LayerCommitment or None
        The commitment to the rows between layers, if any.
    """

    header: Header
    output: Output
    chain: bytes = field(repr=False)
    layers: LayerCommitment | None = None

    def __post_init__(self) -> None:
        if len(self.chain) != SIZE * len(self.output.tokens):
            raise ReceiptError(
                f"chain has {len(self.chain)} bytes; expected {SIZE} for each of the {len(self.output.tokens)} tokens"
            )

    @property
    def count(self) -> int:
        """The number of output tokens."""
        return len(self.output.tokens)

    def __repr__(self) -> str:
        signed = "" if self.signature is None else ", signed"
        return f"Receipt({self.header.hash}:{self.digest.hex()[:16]}, {self.count} tokens{signed})"

    def link(self, index: int) -> bytes:
        """Return an output token's link."""
        return self.chain[SIZE * index : SIZE * (index + 1)]

    def unsigned(self) -> dict[str, Any]:
        """Return the receipt as a JSON object, without the signature."""
        layers = {} if self.layers is None else {"layers": self.layers.to_document()}
        return {
            **self.header.to_document(),
            "output": self.output.to_document(),
            "chain": write_base64(self.chain),
            **layers,
        }

    @property
    def digest(self) -> bytes:
        """The digest of the canonical form without the signature; this is the digest that is signed."""
        return digest(self.header.hash, canonical.encode(self.unsigned()))

    @classmethod
    def from_document(cls, value: Any) -> Receipt:
        """Parse the result of `unsigned`."""
        check_kind(value, "receipt", FORMAT, VERSION)
        fields = Fields(value, "the receipt", (*_HEADER, "output", "chain"), ("layers", "signature"))
        return cls(
            Header(
                ModelDigests.from_document(value["model"]),
                Numerics.from_document(value["numerics"]),
                AnswerRequest.from_document(value["request"]),
                fields.choice("hash", HASHES),
            ),
            Output.from_document(value["output"]),
            read_base64(fields, "chain"),
            LayerCommitment.from_document(value["layers"]) if "layers" in value else None,
        )


def first_link(name: HashName, header: bytes) -> bytes:
    """Return the link that precedes all others in a chain, computed from the header's digest."""
    return digest(name, _CHAIN, header)


def next_link(name: HashName, last: bytes, token: int, head: bytes) -> bytes:
    """Return a token's link.

    Parameters
    ----------
    last : bytes
        The previous link.
    head : bytes
        The input of the head at this position, as returned by `Executor.head_inputs`.
    """
    return digest(name, last, token.to_bytes(4, "little"), head)


def write_base64(data: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_base64(fields: Fields, name: str) -> bytes:
    """Decode bytes encoded by `write_base64`."""
    text = fields.text(name)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        fields.fail(name, "base64url without padding")


def read_any(data: bytes, others: Mapping[str, Callable[[bytes], Other]] = _NO_OTHERS) -> Receipt | Other:
    """Parse the receipt of an answer or of another kind; its content is not trusted.

    Parameters
    ----------
    others : mapping of str to callable
        The parsing functions for other formats, such as `intact.solving.receipts.PARSERS`.

    Raises
    ------
    NewerReceiptError
        If the receipt has a later version.
    ReceiptError
        If it is not a receipt.
    """
    for name, parse in others.items():
        if f'"format":"{name}"'.encode() in data:
            return parse(data)
    return Receipt.parse(data)


def read_receipts(path: Path, others: Mapping[str, Callable[[bytes], Other]] = _NO_OTHERS) -> Iterator[Receipt | Other]:
    """Read a file with one receipt per line, parsing each with `read_any`.

    Raises
    ------
    ReceiptError
        If the file cannot be read or a line is not a receipt; the message names file and line.
    """
    for number, line in enumerate(read_lines(path), 1):
        try:
            yield read_any(line, others)
        except ReceiptError as error:
            raise type(error)(f"{path}, line {number}: {error}") from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of receipts, unparsed; lines too long for a receipt are truncated.

    Raises
    ------
    ReceiptError
        If the file cannot be read, is empty, or is a model file.
    """
    empty, most = True, canonical.MOST_BYTES + 1
    try:
        with path.open("rb") as file:
            while line := file.readline(most):
                if empty and line.startswith(b"GGUF"):
                    raise ReceiptError(f"{path} is a model, not a file of receipts: pass it with --model")
                rest, empty = line, False
                while len(rest) == most and not rest.endswith(
                    b"\n"
                ):  # skip the rest, which would count as further lines
                    rest = file.readline(most)
                yield line.removesuffix(b"\n")
    except OSError as error:
        raise ReceiptError(f"{path} cannot be read ({error.strerror or error})") from error
    if empty:
        raise ReceiptError(f"{path} is empty; expected one receipt per line")


def write_receipts(path: Path, receipts: Iterable[AnyReceipt]) -> None:
    """Write a file with one receipt per line, atomically. A symbolic link is replaced.

    Raises
    ------
    ReceiptError
        If the file cannot be written.
    """
    data = [receipt.encode() + b"\n" for receipt in receipts]
    try:
        write_whole(path, data)
    except OSError as error:
        raise ReceiptError(f"{path} cannot be written ({error.strerror or error})") from error
