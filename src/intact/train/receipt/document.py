"""The training receipt: what a run read and computed in every step, and its result (docs/spec/training_receipts.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from intact._base.errors import NewerReceiptError, ParameterError, ReceiptError
from intact._base.files import write_whole
from intact.receipts import canonical
from intact.receipts.canonical import digest
from intact.receipts.model_digests import ModelDigests
from intact.train.examples import DataSource
from intact.train.receipt.chain import chain
from intact.train.settings import TrainSettings
from intact.train.state import StepLink

FORMAT: Final = "intact-training-receipt"
VERSION: Final = 1
NUMERICS: Final = "1"
"""Version of the arithmetic of training (docs/spec/training_receipts.md)."""
MOST_STEPS: Final = 32_000
"""Largest number of steps that a receipt can hold."""
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_HEADER: Final = ("format", "version", "numerics", "base", "teacher", "settings", "data", "trainable")
_MEMBERS: Final = ("header", "steps", "result")


@dataclass(frozen=True)
class TrainingHeader:
    """Everything that determines a run.

    Attributes
    ----------
    numerics : mapping
        Versions of the arithmetic: of the forward pass, and of training.
    base, teacher : ModelDigests
        The models; `teacher` is None unless the loss needs one.
    settings : mapping
        As `TrainSettings.to_dict`.
    data : mapping
        `rows`, `root` over the rows after templating, `order` rule, and `sources`.
    trainable : mapping
        `shapes` of the trained tensors, and the `root` of the initial state.
    """

    numerics: Mapping[str, str]
    base: ModelDigests
    teacher: ModelDigests | None
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    trainable: Mapping[str, Any]

    def to_document(self) -> dict[str, Any]:
        """Return the header as a JSON object."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "numerics": dict(self.numerics),
            "base": self.base.to_document(),
            "teacher": None if self.teacher is None else self.teacher.to_document(),
            "settings": dict(self.settings),
            "data": dict(self.data),
            "trainable": dict(self.trainable),
        }

    @property
    def digest(self) -> bytes:
        """c_0: the digest of the header."""
        return digest(self.settings["hash"], canonical.encode(self.to_document()))

    @classmethod
    def from_document(cls, value: Any) -> TrainingHeader:
        """Parse the result of `to_document`.

        Raises
        ------
        ReceiptError
            If a member is missing, unknown or malformed.
        """
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ReceiptError(f"expected a document of the format {FORMAT}")
        if value.get("version") != VERSION:
            raise NewerReceiptError(f"version {value.get('version')!r:.20} of {FORMAT} is unknown; expected {VERSION}")
        _members(value, _HEADER, "header")
        data, trainable, numerics = value["data"], value["trainable"], value["numerics"]
        _members(data, ("rows", "root", "order", "sources"), "header.data")
        _members(trainable, ("shapes", "root"), "header.trainable")
        _members(numerics, ("forward", "training"), "header.numerics")
        if type(data["rows"]) is not int or not _is_digest(data["root"]) or not _is_digest(trainable["root"]):
            raise ReceiptError("header: data.rows must be a number, data.root and trainable.root digests")
        try:
            settings = TrainSettings.from_dict(value["settings"]).to_dict()
        except (ParameterError, TypeError, AttributeError) as error:
            raise ReceiptError(f"header.settings: {error}") from error
        if settings != value["settings"]:
            raise ReceiptError("header.settings are not in their normal form")
        teacher = value["teacher"]
        return cls(
            numerics,
            ModelDigests.from_document(value["base"], "header.base"),
            teacher=None if teacher is None else ModelDigests.from_document(teacher, "header.teacher"),
            settings=settings,
            data=data,
            trainable=trainable,
        )


@dataclass(frozen=True)
class TrainingReceipt:
    """The receipt of a run.

    Attributes
    ----------
    header : TrainingHeader
    links : sequence of StepLink
        One per step.
    held : sequence of (step, loss, total)
        Held-out losses: the sum in nats, Q24, and the number by which to divide it. They are claims about rows that
        the receipt does not name, so no verdict depends on them.
    """

    header: TrainingHeader
    links: Sequence[StepLink]
    held: Sequence[tuple[int, int, int]] = ()

    @property
    def chain(self) -> bytes:
        """c_t after the last step, which identifies the whole run."""
        return chain(self.header.settings["hash"], self.header.digest, self.links)

    def to_document(self) -> dict[str, Any]:
        """Return the receipt as a JSON object."""
        return {
            "header": self.header.to_document(),
            "steps": [[part.hex() for part in link] for link in self.links],
            "result": {
                "chain": self.chain.hex(),
                "state": self.links[-1].state.hex() if self.links else self.header.trainable["root"],
                "held": [list(one) for one in self.held],
            },
        }

    def save(self, path: Path) -> None:
        """Write the receipt in canonical JSON."""
        write_whole(path, canonical.encode(self.to_document()))

    @classmethod
    def parse(cls, data: bytes, what: str = "the receipt") -> TrainingReceipt:
        """Parse a receipt.

        Raises
        ------
        ReceiptError
            If it is too large, malformed, not canonical, or its chain does not follow from its steps.
        """
        value = canonical.read(data, what)
        canonical.require_canonical(value, data, what)
        _members(value, _MEMBERS, "the receipt")
        header = TrainingHeader.from_document(value["header"])
        steps, result = value["steps"], value["result"]
        _members(result, ("chain", "state", "held"), "result")
        if not isinstance(steps, list) or not len(steps) <= min(header.settings["steps"], MOST_STEPS):
            raise ReceiptError(f"steps must be a list of at most {header.settings['steps']} links")
        if not all(isinstance(link, list) and len(link) == 3 and all(map(_is_digest, link)) for link in steps):
            raise ReceiptError("each step must consist of three digests")
        held = result["held"]
        if not isinstance(held, list) or not all(
            isinstance(one, list) and len(one) == 3 and all(type(item) is int for item in one) for one in held
        ):
            raise ReceiptError("result.held must be a list of step, loss and total")
        links = [StepLink(*(bytes.fromhex(part) for part in link)) for link in steps]
        receipt = cls(header, links, [(one[0], one[1], one[2]) for one in held])
        if receipt.to_document()["result"] != result:
            raise ReceiptError("result.chain or result.state does not follow from header and steps")
        return receipt

    @classmethod
    def load(cls, path: Path) -> TrainingReceipt:
        """Read a receipt from a file; errors as in `parse`."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ReceiptError(f"{path} cannot be read: {error.strerror}") from error
        return cls.parse(data, str(path))


def is_training_receipt(value: object) -> bool:
    """Return true if a parsed JSON document is a training receipt, of any version."""
    header = value.get("header") if isinstance(value, dict) else None
    return isinstance(header, dict) and header.get("format") == FORMAT


def describe_data(rows: int, root: bytes, sources: Sequence[DataSource], order: str) -> dict[str, Any]:
    """Return the header's member `data`."""
    files = [{"name": s.name, "sha256": s.sha256, "rows": s.rows, "format": s.format} for s in sources]
    return {"rows": rows, "root": root.hex(), "order": order, "sources": files}


def _members(value: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ReceiptError(f"{where} must have the members {', '.join(names)}")


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None
