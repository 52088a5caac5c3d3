"""The receipt of a run: header, entries and result, the Merkle tree over them, and their canonical form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast, get_args

from intact._base.strict_json import Fields, check_kind
from intact.reason.budget import CAPPED, Cost
from intact.reason.problem import Branch, Conclusion, path
from intact.receipts import canonical
from intact.receipts.canonical import HashName, digest
from intact.receipts.document import AnyReceipt
from intact.receipts.identity import Proof, path_of, root_of
from intact.solving.receipts import FORMAT
from intact.solving.receipts.entries import Entry, SharedEntry, TextEntry, read_entry
from intact.solving.receipts.header import MEMBERS, OPTIONAL, READERS, VERSION, RunHeader
from intact.solving.receipts.values import bits, read_branch, read_number

_COSTS: Final = (*CAPPED, "sequential")
_LEAF: Final = b"\0"


@dataclass(frozen=True)
class RunResult:
    """The result of a run: the fields of `Answer` and `Result` with these names; `chosen` is a branch."""

    answer: str | None
    votes: tuple[tuple[str, float], ...]
    confidence: float | None
    chosen: Branch | None
    why: Conclusion
    cost: Cost

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {
            "answer": self.answer,
            "votes": [[answer, bits(weight)] for answer, weight in self.votes],
            "confidence": None if self.confidence is None else bits(self.confidence),
            "chosen": None if self.chosen is None else list(self.chosen),
            "why": self.why,
            "cost": {name: getattr(self.cost, name) for name in _COSTS},
        }

    @classmethod
    def from_document(cls, value: Any) -> RunResult:
        """Parse the result of `to_document`."""
        fields = Fields(value, "result", ("answer", "votes", "confidence", "chosen", "why", "cost"))
        votes = fields.values["votes"]
        if not isinstance(votes, list) or not all(
            isinstance(vote, list) and len(vote) == 2 and isinstance(vote[0], str) for vote in votes
        ):
            fields.fail("votes", "a list of pairs of answer and weight")
        cost = Fields(fields.values["cost"], "result.cost", _COSTS)
        return cls(
            fields.maybe("answer", fields.text),
            tuple([(answer, read_number(weight, "result.votes")) for answer, weight in votes]),
            fields.maybe("confidence", lambda name: read_number(fields.values[name], f"result.{name}")),
            fields.maybe("chosen", lambda name: read_branch(fields, name)),
            why=cast(Conclusion, fields.choice("why", get_args(Conclusion))),
            cost=Cost(**{name: cost.integer(name) for name in _COSTS}),
        )


@dataclass(frozen=True)
class RunReceipt(AnyReceipt):
    """The requests of a method, their results, and the method's answer.

    Attributes
    ----------
    entries : tuple
        Completions, scores and programs, in the order of the trace.
    root : bytes
        The claimed root of the tree over the receipt's parts; in a true receipt, it equals `digest`.
    """

    header: RunHeader
    entries: tuple[Entry, ...]
    result: RunResult
    root: bytes

    def __repr__(self) -> str:
        signed = "" if self.signature is None else ", signed"
        return f"RunReceipt({self.header.hash}:{self.root.hex()[:16]}, {len(self.entries)} entries{signed})"

    @classmethod
    def make(cls, header: RunHeader, entries: tuple[Entry, ...], result: RunResult) -> RunReceipt:
        """Make a receipt with the correct root."""
        return cls(header, entries, result, cls(header, entries, result, b"").digest)

    @cached_property
    def leaves(self) -> list[bytes]:
        """The leaves of the tree."""
        return [leaf_of(self.header.hash, part) for part in (self.header, *self.entries, self.result)]

    def prove(self, index: int) -> Proof:
        """Return the proof that an entry belongs to the root, for `weights.check_proof` with the entry's `leaf_of`."""
        return Proof(1 + index, len(self.leaves), tuple(path_of(self.header.hash, self.leaves, 1 + index)))

    @cached_property
    def digest(self) -> bytes:
        """The digest to cite and to sign: the root of the Merkle tree over header, entries and result."""
        return root_of(self.header.hash, self.leaves)

    @property
    def count(self) -> int:
        """The number of tokens in its completions."""
        return sum(entry.count for entry in self.entries if isinstance(entry, TextEntry | SharedEntry))

    def unsigned(self) -> dict[str, Any]:
        """Return the receipt as a JSON object, without the signature."""
        return {
            **self.header.to_document(),
            "entries": [entry.to_document() for entry in self.entries],
            "result": self.result.to_document(),
            "root": self.root.hex(),
        }

    @classmethod
    def from_document(cls, value: Any) -> RunReceipt:
        """Parse the result of `unsigned`."""
        check_kind(value, "receipt of a run", FORMAT, VERSION, readers=READERS)
        fields = Fields(value, "the receipt", (*MEMBERS, "entries", "result", "root"), (*OPTIONAL, "signature"))
        receipt = cls(
            RunHeader.from_document(fields),
            fields.each("entries", read_entry),
            RunResult.from_document(fields.values["result"]),
            fields.digest("root"),
        )
        branches = [path(entry.branch) for entry in receipt.entries if isinstance(entry, TextEntry | SharedEntry)]
        if len(set(branches)) < len(branches):
            fields.fail("entries", "a list without two texts at the same place of the tree")
        return receipt


def leaf_of(hash: HashName, part: RunHeader | Entry | RunResult) -> bytes:  # noqa: A002
    """Return the leaf of a part of a receipt: the digest of a zero byte and the part's canonical form."""
    return digest(hash, _LEAF + canonical.encode(part.to_document()))
