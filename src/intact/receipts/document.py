"""The receipt of one answer: its parts as values, and the one form in which they are written (docs/receipts.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

from intact.engine.sampling.parameters import SamplingParameters
from intact.errors import ReceiptError
from intact.executors.base import PROFILES, Profile
from intact.files import write_whole
from intact.receipts import canonical, sampling
from intact.receipts.canonical import LARGEST
from intact.receipts.digests import HASHES, SIZE, HashName, digest
from intact.receipts.fields import Fields, check_kind, is_integer
from intact.receipts.signature import Signature

FORMAT: Final = "intact-receipt"
VERSION: Final = 1
MOST_PARTS: Final = 16
"""Of a branch."""
Finish = Literal["stop", "length", "context"]
Kind = Literal["text", "chat"]
_KINDS: Final[tuple[Kind, ...]] = ("text", "chat")
FINISHES: Final[tuple[Finish, ...]] = ("stop", "length", "context")
Cut = Literal["cancelled"]
"""How a text of a run may also end: another won the race."""
_HEADER: Final = ("format", "version", "hash", "model", "numerics", "request")
_LOGPROB: Final = 1 << 48


@dataclass(frozen=True)
class ModelDigests:
    """Which model answered.

    Attributes
    ----------
    weights : bytes
        Root of the Merkle tree over program and tensors (`intact.receipts.weights`).
    tensors : int
        How many tensors it has.
    tokenizer, template : bytes
        Digests of tokenizer and chat template; None for a model without a template.
    ends : tuple of int
        Tokens that end a text, ascending.
    name : str or None
        What the checkpoint calls itself. Informative: no verdict depends on it.
    """

    weights: bytes
    tensors: int
    tokenizer: bytes
    template: bytes | None
    ends: tuple[int, ...]
    name: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "weights": self.weights.hex(),
            "tensors": self.tensors,
            "tokenizer": self.tokenizer.hex(),
            "template": None if self.template is None else self.template.hex(),
            "ends": list(self.ends),
            "name": self.name,
        }

    @classmethod
    def from_document(cls, value: Any) -> ModelDigests:
        """Read it."""
        fields = Fields(value, "model", ("weights", "tensors", "tokenizer", "template", "ends", "name"))
        ends = fields.integers("ends")
        if any(a >= b for a, b in pairwise(ends)):
            fields.fail("ends", "tokens in ascending order")
        return cls(
            fields.digest("weights"),
            fields.integer("tensors", 1, 1 << 24),
            fields.digest("tokenizer"),
            fields.maybe("template", fields.digest),
            ends,
            fields.maybe("name", fields.text),
        )


@dataclass(frozen=True)
class Numerics:
    """Which arithmetic: its version, the profile, and the bits of matrices that the checkpoint stores as floats."""

    version: str
    profile: Profile
    bits: int = 8

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {"version": self.version, "profile": self.profile, "bits": self.bits}

    @classmethod
    def from_document(cls, value: Any) -> Numerics:
        """Read it."""
        fields = Fields(value, "numerics", ("version", "profile", "bits"))
        profile = cast(Profile, fields.choice("profile", PROFILES))
        return cls(fields.text("version"), profile, fields.choice("bits", (8, 4)))


@dataclass(frozen=True)
class Source:
    """What the prompt's tokens were made from.

    Attributes
    ----------
    kind : {'text', 'chat'}
        A text, or what the chat template was given.
    text : str
        The text itself; or an object in JSON, whose members keep their order, with `messages` and whatever other
        variables the template was given.
    now : str or None
        The time that the template was told, as 2026-11-20T17:45:00, if it asks for one.
    """

    kind: Kind
    text: str
    now: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {"kind": self.kind, "text": self.text, "now": self.now}

    @classmethod
    def from_document(cls, value: Any) -> Source:
        """Read it."""
        fields = Fields(value, "request.source", ("kind", "text", "now"))
        kind = fields.choice("kind", _KINDS)
        return cls(kind, fields.text("text"), fields.maybe("now", fields.text))

    def conversation(self) -> dict[str, Any]:
        """The variables of the template, `messages` among them.

        Raises
        ------
        ReceiptError
            If it is no such object.
        """
        value = canonical.read(self.text.encode(), "request.source.text", floats=True)
        if self.kind != "chat" or not isinstance(value, dict) or not isinstance(value.get("messages"), list):
            raise ReceiptError("request.source.text must be a JSON object with a list of messages")
        return value


@dataclass(frozen=True)
class Request:
    """What was asked.

    Attributes
    ----------
    prompt : tuple of int
        Its tokens.
    parameters : SamplingParameters
        How tokens are drawn, and when the answer ends; the seed is among them.
    branch : tuple of str and int
        What names the draws beside the seed: by default the prompt's name and the sample's number.
    compiler : str or None
        What compiled the constraint, such as `llguidance 1.3.0`; None without one.
    source : Source or None
        What the tokens were made from, if it is known.
    """

    prompt: tuple[int, ...]
    parameters: SamplingParameters
    branch: tuple[str | int, ...]
    compiler: str | None = None
    source: Source | None = None

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "prompt": list(self.prompt),
            "sampling": sampling.to_document(self.parameters),
            "branch": list(self.branch),
            "compiler": self.compiler,
            "source": None if self.source is None else self.source.to_document(),
        }

    @classmethod
    def from_document(cls, value: Any) -> Request:
        """Read it."""
        fields = Fields(value, "request", ("prompt", "sampling", "branch", "compiler", "source"))
        parameters = sampling.from_document(fields.values["sampling"], "request.sampling")
        branch = fields.values["branch"]
        if (
            not isinstance(branch, list)
            or len(branch) > MOST_PARTS
            or not all(isinstance(part, str) or is_integer(part, -LARGEST, LARGEST) for part in branch)
        ):
            fields.fail("branch", f"a list of at most {MOST_PARTS} strings and integers")
        compiler = fields.maybe("compiler", fields.text)
        if (compiler is None) != (parameters.constraint is None):
            fields.fail("compiler", "the name of what compiled the constraint, and null without one")
        source = None if fields.values["source"] is None else Source.from_document(fields.values["source"])
        return cls(fields.integers("prompt", shortest=1), parameters, tuple(branch), compiler, source)


@dataclass(frozen=True)
class Output:
    """What was answered.

    Attributes
    ----------
    tokens : tuple of int
        All that were drawn, the one that ended the text included.
    finish : {'stop', 'length', 'context', 'cancelled'}
        An end token or stop string, `max_tokens`, or the context's end; of a text of a run also that another won.
    text : str
        What the tokens say, without what ended it.
    logprobs : tuple of int or None
        Natural log-probabilities of the tokens under the model, times 2^24.
    top : bytes or None
        The likeliest tokens at each place (`intact.receipts.likeliest`). Only texts of runs have any, who write them
        themselves.
    """

    tokens: tuple[int, ...]
    finish: Finish | Cut
    text: str
    logprobs: tuple[int, ...] | None = None
    top: bytes | None = None

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        logprobs = None if self.logprobs is None else list(self.logprobs)
        return {"tokens": list(self.tokens), "finish": self.finish, "text": self.text, "logprobs": logprobs}

    @classmethod
    def from_document(cls, value: Any, finishes: Sequence[Finish | Cut] = FINISHES) -> Output:
        """Read it."""
        fields = Fields(value, "output", ("tokens", "finish", "text", "logprobs"))
        tokens = fields.integers("tokens", shortest=1)
        logprobs = fields.maybe("logprobs", lambda name: fields.integers(name, -_LOGPROB, 0))
        if logprobs is not None and len(logprobs) != len(tokens):
            fields.fail("logprobs", "a list with a number for each token")
        return cls(tokens, fields.choice("finish", finishes), fields.text("text"), logprobs)


@dataclass(frozen=True)
class Header:
    """All that decides an answer: model, arithmetic and request. Its digest seeds the chain."""

    model: ModelDigests
    numerics: Numerics
    request: Request
    hash: HashName = "sha256"

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
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
        """The digest of its canonical form."""
        return digest(self.hash, canonical.encode(self.to_document()))


@dataclass(frozen=True)
class Receipt:
    """One answer, and the chain of digests that binds each of its positions to the computation.

    Attributes
    ----------
    chain : bytes
        A link of 32 bytes for each token of the output (`intact.receipts.chain`).
    signature : Signature or None
        Of `digest`, by whoever vouches for it.
    """

    header: Header
    output: Output
    chain: bytes = field(repr=False)
    signature: Signature | None = None

    def __post_init__(self) -> None:
        if len(self.chain) != SIZE * len(self.output.tokens):
            raise ReceiptError(
                f"chain has {len(self.chain)} bytes; expected {SIZE} for each of {len(self.output.tokens)} tokens"
            )

    @property
    def count(self) -> int:
        """How many tokens its output has."""
        return len(self.output.tokens)

    def link(self, index: int) -> bytes:
        """The link of a token of the output."""
        return self.chain[SIZE * index : SIZE * (index + 1)]

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        value = self._unsigned()
        if self.signature is not None:
            value["signature"] = self.signature.to_document()
        return value

    def _unsigned(self) -> dict[str, Any]:
        return {
            **self.header.to_document(),
            "output": self.output.to_document(),
            "chain": write_base64(self.chain),
        }

    def encode(self) -> bytes:
        """Write it in canonical form.

        Raises
        ------
        ReceiptError
            If it would be larger than a receipt may be.
        """
        data = canonical.encode(self.to_document())
        canonical.check_size(data, "the receipt")
        return data

    @property
    def digest(self) -> bytes:
        """The digest of its canonical form, the signature left out: what a signature signs."""
        return digest(self.header.hash, canonical.encode(self._unsigned()))

    def signed(self, signature: Signature | None) -> Receipt:
        """The same with a signature."""
        return replace(self, signature=signature)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a file of its own, as `write_receipts` does."""
        write_receipts(Path(path), [self])

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Read a receipt; nothing in it is trusted.

        Raises
        ------
        NewerReceiptError
            If it is of a later version.
        ReceiptError
            If it is no receipt: too large, no canonical JSON, or with a member that is missing, unknown or impossible.
        """
        value = canonical.read(data, "the receipt")
        check_kind(value, "receipt", FORMAT, VERSION)
        fields = Fields(value, "the receipt", (*_HEADER, "output", "chain"), ("signature",))
        receipt = cls(
            Header(
                ModelDigests.from_document(value["model"]),
                Numerics.from_document(value["numerics"]),
                Request.from_document(value["request"]),
                fields.choice("hash", HASHES),
            ),
            Output.from_document(value["output"]),
            read_base64(fields, "chain"),
            Signature.from_document(value["signature"]) if "signature" in value else None,
        )
        canonical.insist(receipt.to_document(), data, "the receipt")
        return receipt


def write_base64(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_base64(fields: Fields, name: str) -> bytes:
    """Read bytes that `write_base64` wrote."""
    text = fields.text(name)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        fields.fail(name, "base64url without padding")


def read_receipts(path: Path) -> Iterator[Receipt]:
    """Read a file of receipts: one a line.

    Raises
    ------
    ReceiptError
        Naming file and line, if it cannot be read or one of them is no receipt.
    """
    for number, line in enumerate(read_lines(path), 1):
        try:
            yield Receipt.parse(line)
        except ReceiptError as error:
            raise type(error)(f"{path}, line {number}: {error}") from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Return the lines of a file of receipts, unparsed; of one that is too long for a receipt only the beginning.

    Raises
    ------
    ReceiptError
        If the file cannot be read or is empty.
    """
    empty, most = True, canonical.MOST_BYTES + 1
    try:
        with path.open("rb") as file:
            while line := file.readline(most):
                rest, empty = line, False
                while len(rest) == most and not rest.endswith(b"\n"):  # skipped, or it would count as further lines
                    rest = file.readline(most)
                yield line.removesuffix(b"\n")
    except OSError as error:
        raise ReceiptError(f"{path}: cannot be read ({error.strerror or error})") from error
    if empty:
        raise ReceiptError(f"{path} is empty; expected a receipt a line")


class Encodes(Protocol):
    """A receipt of any kind."""

    def encode(self) -> bytes:
        """Write it in canonical form."""


def write_receipts(path: Path, receipts: Iterable[Encodes]) -> None:
    """Write a file of receipts, one a line; the file appears whole or not at all. A symbolic link is replaced.

    Raises
    ------
    ReceiptError
        If it cannot be written.
    """
    data = [receipt.encode() + b"\n" for receipt in receipts]
    try:
        write_whole(path, data)
    except OSError as error:
        raise ReceiptError(f"{path}: cannot be written ({error.strerror or error})") from error
