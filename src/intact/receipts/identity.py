"""Which model this is, as receipts say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from intact.executors.base import Profile, choose_threads
from intact.numerics import VERSION, fp32
from intact.receipts.digests import HashName, template_digest, tokenizer_digest
from intact.receipts.document import ModelDigests, Numerics
from intact.receipts.weights import Weights, measure

if TYPE_CHECKING:
    from intact.formats import Checkpoint
    from intact.library import Model
    from intact.models import Program
    from intact.text import Tokenizer

_measured: WeakKeyDictionary[Model, dict[HashName, tuple[Weights, ModelDigests]]] = WeakKeyDictionary()


def weights_of(model: Model, hash: HashName = "sha256") -> Weights:  # noqa: A002
    """The Merkle tree over a model, read from its file when first asked for."""
    return _measure(model, hash)[0]


def digests_of(model: Model, hash: HashName = "sha256") -> ModelDigests:  # noqa: A002
    """The digests of a model, taken when first asked for.

    Raises
    ------
    ReceiptError
        If its tokenizer's file has gone.
    """
    return _measure(model, hash)[1]


def numerics_of(model: Model) -> Numerics:
    """The arithmetic that a model runs in."""
    executor = model.executor
    return Numerics(version_of(executor.profile), executor.profile, executor.bits)


def version_of(profile: Profile) -> str:
    """The version of a profile's arithmetic."""
    return fp32.VERSION if profile == "fp32" else VERSION


def _measure(model: Model, name: HashName) -> tuple[Weights, ModelDigests]:
    known = _measured.setdefault(model, {})
    if name not in known:
        known[name] = identify(model.checkpoint, model.program, model.tokenizer, name)
    return known[name]


def identify(
    checkpoint: Checkpoint,
    program: Program,
    tokenizer: Tokenizer,
    hash: HashName = "sha256",  # noqa: A002
) -> tuple[Weights, ModelDigests]:
    """The Merkle tree over a checkpoint, and all its digests.

    Raises
    ------
    ReceiptError
        If its tokenizer's file has gone.
    """
    weights = measure(program, hash, choose_threads(None))
    return weights, ModelDigests(
        weights.root,
        weights.tensors,
        tokenizer_digest(hash, checkpoint, tokenizer),
        template_digest(hash, tokenizer),
        tuple(sorted(tokenizer.eos_ids)),
        own_name(checkpoint),
    )


def own_name(checkpoint: Checkpoint) -> str | None:
    """What a GGUF file calls its model."""
    name: Any = checkpoint.metadata.get("general.name")
    return name if isinstance(name, str) and name else None
