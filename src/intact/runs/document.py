"""The receipt of a run: its parts as values, and the one form in which they are written."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, cast, get_args

from intact.errors import ReceiptError
from intact.reason.answer import Conclusion, Cost
from intact.reason.budget import CAPPED
from intact.reason.state import Branch, Prompt
from intact.reason.trace import path
from intact.receipts import canonical
from intact.receipts.canonical import LARGEST
from intact.receipts.digests import HASHES, SIZE, HashName, digest
from intact.receipts.document import ModelDigests, Numerics, Output
from intact.receipts.fields import Fields, check_kind, is_integer, shown
from intact.receipts.weights import Proof, path_of, root_of

FORMAT: Final = "intact-run-receipt"
VERSION: Final = 1
DEEPEST: Final = 256
"""Parts of a place in the tree of texts."""
MOST: Final = 1 << 16
"""Of integers among a method's parameters, and of characters in a text: who verifies does what they say."""
LONGEST: Final = 1 << 18
"""Characters of a prompt: it becomes tokens before anything else of it is known."""
_HEADER: Final = ("format", "version", "hash", "model", "numerics", "method", "problem", "sampling", "budget")
_COSTS: Final = (*CAPPED, "sequential")
_LEAF: Final = b"\0"


@dataclass(frozen=True)
class RunHeader:
    """All that decides a run.

    Attributes
    ----------
    method : str
        Its name.
    source : bytes
        Digest of the file that defines it.
    parameters : mapping
        Those that were given; what was not has the method's default.
    id, prompt, seed
        The problem's.
    sampling : mapping
        The user's wishes.
    budget : mapping
        The caps by their names.
    """

    model: ModelDigests
    numerics: Numerics
    method: str
    source: bytes
    parameters: Mapping[str, Any]
    id: str
    prompt: Prompt
    seed: int
    sampling: Mapping[str, Any]
    budget: Mapping[str, Any]
    hash: HashName = "sha256"

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        prompt: Any = self.prompt if isinstance(self.prompt, str) else [list(turn) for turn in self.prompt]
        return {
            "format": FORMAT,
            "version": VERSION,
            "hash": self.hash,
            "model": self.model.to_document(),
            "numerics": self.numerics.to_document(),
            "method": {"name": self.method, "source": self.source.hex(), "parameters": _text(self.parameters)},
            "problem": {"id": self.id, "prompt": prompt, "seed": str(self.seed)},
            "sampling": _text(self.sampling),
            "budget": _text(self.budget),
        }

    @classmethod
    def from_document(cls, fields: Fields) -> RunHeader:
        """Read it."""
        method = Fields(fields.values["method"], "method", ("name", "source", "parameters"))
        problem = Fields(fields.values["problem"], "problem", ("id", "prompt", "seed"))
        parameters = _values(method, "parameters")
        for name, value in parameters.items():
            if isinstance(value, int) and abs(value) > MOST:
                method.fail("parameters", f"an object with integers of at most {MOST} in size, {shown(name)} too")
        return cls(
            ModelDigests.from_document(fields.values["model"]),
            Numerics.from_document(fields.values["numerics"]),
            method.text("name"),
            method.digest("source"),
            parameters,
            problem.text("id"),
            _prompt(problem),
            _seed(problem),
            _values(fields, "sampling"),
            _values(fields, "budget"),
            fields.choice("hash", HASHES),
        )


@dataclass(frozen=True)
class TextEntry:
    """A text that a model wrote: an ordinary receipt, without what the method says again when it is replayed.

    Attributes
    ----------
    branch : tuple
        Its place in the tree.
    header : bytes
        Digest of the ordinary receipt's header, which seeds the chain.
    """

    branch: Branch
    header: bytes
    output: Output
    chain: bytes = field(repr=False)

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "kind": "text",
            "branch": list(self.branch),
            "header": self.header.hex(),
            "output": self.output.to_document(),
            "chain": base64.urlsafe_b64encode(self.chain).rstrip(b"=").decode(),
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> TextEntry:
        """Read it."""
        fields = Fields(value, where, ("kind", "branch", "header", "output", "chain"))
        output = Output.from_document(fields.values["output"])
        if output.logprobs is None:
            raise ReceiptError(f"{where}.output.logprobs must be a list: scores are made of them")
        text = fields.text("chain")
        try:
            chain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            fields.fail("chain", "base64url without padding")
        if len(chain) != SIZE * len(output.tokens):
            fields.fail("chain", f"{SIZE} bytes for each of {len(output.tokens)} tokens")
        return cls(_branch(fields, "branch"), fields.digest("header"), output, chain)


@dataclass(frozen=True)
class ScoreEntry:
    """Numbers that a scorer gave texts, these by their places in the tree, written as in a trace."""

    scorer: str
    texts: tuple[str, ...]
    scores: tuple[float, ...]

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "kind": "score",
            "scorer": self.scorer,
            "texts": list(self.texts),
            "scores": [bits(score) for score in self.scores],
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> ScoreEntry:
        """Read it."""
        fields = Fields(value, where, ("kind", "scorer", "texts", "scores"))
        texts, scores = fields.values["texts"], fields.values["scores"]
        if not isinstance(texts, list) or not isinstance(scores, list) or len(texts) != len(scores):
            fields.fail("scores", "a list with a number for each of the texts")
        if not all(isinstance(text, str) for text in texts):
            fields.fail("texts", "a list of places in the tree, each a text")
        numbers = [_number(score, f"{where}.scores") for score in scores]
        return cls(fields.text("scorer"), tuple(texts), tuple(numbers))


Entry = TextEntry | ScoreEntry


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the fields of `Answer` and `Result` that go by these names; `chosen` as a place."""

    answer: str | None
    votes: tuple[tuple[str, float], ...]
    confidence: float | None
    chosen: Branch | None
    why: Conclusion
    cost: Cost

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            "answer": self.answer,
            "votes": [[answer, bits(weight)] for answer, weight in self.votes],
            "confidence": None if self.confidence is None else bits(self.confidence),
            "chosen": None if self.chosen is None else list(self.chosen),
            "why": self.why,
            "cost": {name: getattr(self.cost, name) for name in _COSTS},
        }

    @classmethod
    def from_document(cls, value: Any) -> Outcome:
        """Read it."""
        fields = Fields(value, "result", ("answer", "votes", "confidence", "chosen", "why", "cost"))
        votes = fields.values["votes"]
        if not isinstance(votes, list) or not all(
            isinstance(vote, list) and len(vote) == 2 and isinstance(vote[0], str) for vote in votes
        ):
            fields.fail("votes", "a list of pairs of answer and weight")
        cost = Fields(fields.values["cost"], "result.cost", _COSTS)
        return cls(
            fields.maybe("answer", fields.text),
            tuple([(answer, _number(weight, "result.votes")) for answer, weight in votes]),
            fields.maybe("confidence", lambda name: _number(fields.values[name], f"result.{name}")),
            fields.maybe("chosen", lambda name: _branch(fields, name)),
            cast(Conclusion, fields.choice("why", get_args(Conclusion))),
            Cost(**{name: cost.integer(name) for name in _COSTS}),
        )


@dataclass(frozen=True)
class RunReceipt:
    """What a method asked for, what came of it, and what it made of that.

    Attributes
    ----------
    entries : tuple
        Texts and scores, in the order of the trace.
    root : bytes
        Of the Merkle tree over header, entries and result, in this order.
    """

    header: RunHeader
    entries: tuple[Entry, ...]
    result: Outcome
    root: bytes

    @classmethod
    def make(cls, header: RunHeader, entries: tuple[Entry, ...], result: Outcome) -> RunReceipt:
        """A receipt with the root that it ought to have."""
        unrooted = cls(header, entries, result, b"")
        return cls(header, entries, result, root_of(header.hash, unrooted.leaves))

    @cached_property
    def leaves(self) -> list[bytes]:
        """The leaves of the tree."""
        return [leaf_of(self.header.hash, part) for part in (self.header, *self.entries, self.result)]

    def prove(self, index: int) -> Proof:
        """The proof that an entry belongs to the root; check it by `weights.check_proof` with the entry's `leaf_of`."""
        return Proof(1 + index, len(self.leaves), tuple(path_of(self.header.hash, self.leaves, 1 + index)))

    @property
    def digest(self) -> bytes:
        """What one cites: the root."""
        return self.root

    @property
    def count(self) -> int:
        """How many tokens its texts have."""
        return sum(len(entry.output.tokens) for entry in self.entries if isinstance(entry, TextEntry))

    def to_document(self) -> dict[str, Any]:
        """Describe it."""
        return {
            **self.header.to_document(),
            "entries": [entry.to_document() for entry in self.entries],
            "result": self.result.to_document(),
            "root": self.root.hex(),
        }

    def encode(self) -> bytes:
        """Write it in canonical form.

        Raises
        ------
        ReceiptError
            If it would be larger than a receipt may be, or holds what none may.
        """
        data = canonical.encode(self.to_document())
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> RunReceipt:
        """Read a receipt; nothing in it is trusted.

        Raises
        ------
        NewerReceiptError
            If it is of a later version.
        ReceiptError
            If it is none, or has a member that is missing, unknown or impossible.
        """
        value = canonical.read(data, "the receipt")
        check_kind(value, "receipt of a run", FORMAT, VERSION)
        fields = Fields(value, "the receipt", (*_HEADER, "entries", "result", "root"))
        entries = fields.values["entries"]
        if not isinstance(entries, list):
            fields.fail("entries", "a list")
        receipt = cls(
            RunHeader.from_document(fields),
            tuple([_entry(entry, f"entries[{index}]") for index, entry in enumerate(entries)]),
            Outcome.from_document(fields.values["result"]),
            fields.digest("root"),
        )
        branches = [path(entry.branch) for entry in receipt.entries if isinstance(entry, TextEntry)]
        if len(set(branches)) < len(branches):
            fields.fail("entries", "a list without two texts at one place of the tree")
        canonical.insist(receipt.to_document(), data, "the receipt")
        return receipt


def is_run(data: bytes) -> bool:
    """Whether a line of a file says that it is the receipt of a run, by a look at its bytes."""
    return b'"format":"' + FORMAT.encode() + b'"' in data


def leaf_of(hash: HashName, part: RunHeader | Entry | Outcome) -> bytes:  # noqa: A002
    """The leaf of a part of a receipt: the digest of a zero byte and its canonical form."""
    return digest(hash, _LEAF + canonical.encode(part.to_document()))


def bits(value: float) -> str:
    """A number as the 16 hexadecimal digits of its binary64, the most significant first."""
    return struct.pack(">d", value).hex()


def _number(value: Any, where: str) -> float:
    number = struct.unpack(">d", Fields({"value": value}, where, ("value",)).digits("value", 8))[0]
    if not math.isfinite(number):
        raise ReceiptError(f"{where} must be finite numbers, got {value}")
    return float(number)


def _entry(value: Any, where: str) -> Entry:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "text":
        return TextEntry.from_document(value, where)
    if kind == "score":
        return ScoreEntry.from_document(value, where)
    raise ReceiptError(f"{where} must be an object of kind text or score, got {shown(value)}")


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False, allow_nan=False)


def _values(fields: Fields, name: str) -> dict[str, Any]:
    """An object of scalars and lists of strings, from its text, in which Python writes the numbers."""
    text = fields.text(name)
    values = canonical.read(text.encode("utf-8", "surrogatepass"), fields.place(name), floats=True)
    if not isinstance(values, dict) or not all(map(_plain, values.values())) or _text(values) != text:
        fields.fail(name, "the text of a JSON object of plain values, as json.dumps writes it with sorted keys")
    return values


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) and len(item) <= MOST for item in value)
    if isinstance(value, str):
        return len(value) <= MOST
    return value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _branch(fields: Fields, name: str) -> Branch:
    value = fields.values[name]
    if (
        not isinstance(value, list)
        or not 0 < len(value) <= DEEPEST
        or not all(isinstance(part, str) or is_integer(part, 0, LARGEST) for part in value)
    ):
        fields.fail(name, f"a list of 1 to {DEEPEST} strings and integers")
    return tuple(value)


def _prompt(fields: Fields) -> Prompt:
    value = fields.values["prompt"]
    if len(json.dumps(value)) > LONGEST:
        fields.fail("prompt", f"one of at most {LONGEST:,} characters in JSON")
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(part, str) for part in turn) for turn in value
    ):
        fields.fail("prompt", "a text, or a list of pairs of role and content")
    return tuple([(role, content) for role, content in value])


def _seed(fields: Fields) -> int:
    text = fields.text("seed")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20 and str(int(text)) == text):
        fields.fail("seed", "an integer in decimal, as text")
    return int(text)
