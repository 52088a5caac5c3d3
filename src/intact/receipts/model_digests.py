"""The model and the arithmetic named in a receipt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intact._base.errors import ParameterError
from intact._base.strict_json import Fields
from intact.numerics.profiles import PROFILES, Profile, parse_profile


@dataclass(frozen=True)
class ModelDigests:
    """The digests of the model that answered.

    Attributes
    ----------
    weights : bytes
        Root of the Merkle tree over program and tensors (`intact.receipts.identity`).
    tensors : int
        The number of its tensors.
    tokenizer, template : bytes
        Digests of tokenizer and chat template; None for a model without a template.
    ends : tuple of int
        End tokens, ascending.
    name : str or None
        The name in the checkpoint. Informative only: no verdict depends on it.
    """

    weights: bytes
    tensors: int
    tokenizer: bytes
    template: bytes | None
    ends: tuple[int, ...]
    name: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the digests as a JSON object for the receipt."""
        return {
            "weights": self.weights.hex(),
            "tensors": self.tensors,
            "tokenizer": self.tokenizer.hex(),
            "template": None if self.template is None else self.template.hex(),
            "ends": list(self.ends),
            "name": self.name,
        }

    @classmethod
    def from_document(cls, value: Any, where: str = "model") -> ModelDigests:
        """Parse the result of `to_document`; `where` is its path in the receipt."""
        fields = Fields(value, where, ("weights", "tensors", "tokenizer", "template", "ends", "name"))
        return cls(
            fields.digest("weights"),
            fields.integer("tensors", 1, 1 << 24),
            fields.digest("tokenizer"),
            fields.maybe("template", fields.digest),
            ends=fields.ascending("ends"),
            name=fields.maybe("name", fields.text),
        )


@dataclass(frozen=True)
class Numerics:
    """The arithmetic: version, profile, and bits per code for matrices that the checkpoint stores as floats."""

    version: str
    profile: Profile
    bits: int = 8

    def to_document(self) -> dict[str, Any]:
        """Return the arithmetic as a JSON object for the receipt."""
        return {"version": self.version, "profile": self.profile, "bits": self.bits}

    @classmethod
    def from_document(cls, value: Any) -> Numerics:
        """Parse the result of `to_document`."""
        fields = Fields(value, "numerics", ("version", "profile", "bits"))
        profile = fields.text("profile")
        try:
            parse_profile(profile)
        except ParameterError:
            fields.fail("profile", f"one of {', '.join(PROFILES)}, or a form such as int8+wina50")
        return cls(fields.text("version"), profile, fields.choice("bits", (8, 4)))
