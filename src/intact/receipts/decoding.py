"""The mix from which a receipt's tokens are sampled: its name, version, integer parameters and extra streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from intact._base.errors import ParameterError, ReceiptError
from intact._base.strict_json import Fields
from intact.engine.mixes import MIXES, ChosenMix, Mix, StreamKind, mix_of
from intact.receipts.model_digests import ModelDigests
from intact.receipts.source import PromptSource

MOST_STREAMS: Final = 8
"""Limit on the number of streams in addition to the main one."""
_LARGEST: Final = 1 << 40


@dataclass(frozen=True)
class StreamSource:
    """An extra stream: the same model with another prompt, or another model with the same prompt.

    Attributes
    ----------
    prompt : tuple of int or None
        The tokens of its own prompt; None for the request's prompt.
    source : PromptSource or None
        The source of these tokens, if known.
    model : ModelDigests or None
        The other model, with the same arithmetic; None for the receipt's model.
    """

    prompt: tuple[int, ...] | None = None
    source: PromptSource | None = None
    model: ModelDigests | None = None

    @property
    def kind(self) -> StreamKind:
        """The kind of the stream."""
        return "shadow" if self.model is None else "partner"

    def to_document(self) -> dict[str, Any]:
        """Return the source as a JSON object for the receipt."""
        return {
            "prompt": None if self.prompt is None else list(self.prompt),
            "source": self.source and self.source.to_document(),
            "model": self.model and self.model.to_document(),
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> StreamSource:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("prompt", "source", "model"))
        place = fields.place("source")
        found = cls(
            fields.maybe("prompt", lambda name: fields.integers(name, shortest=1)),
            fields.maybe("source", lambda name: PromptSource.from_document(fields.values[name], place)),
            fields.maybe("model", lambda name: ModelDigests.from_document(fields.values[name], fields.place(name))),
        )
        if (found.prompt is None) != (found.model is not None) or (found.prompt is None and found.source is not None):
            raise ReceiptError(f"{where} must have either a prompt with its source, or a model")
        return found


@dataclass(frozen=True)
class NamedMix:
    """The rule of a mix, as named in receipts.

    Attributes
    ----------
    parameters : tuple of (str, int)
        Sorted by name; decimals are in millionths.
    """

    name: str
    version: int
    parameters: tuple[tuple[str, int], ...]

    @property
    def chosen(self) -> ChosenMix:
        """The mix.

        Raises
        ------
        LookupError
            If there is no mix with this name and version here.
        ParameterError
            If the mix does not take these parameters, or does not match the rest of its description.
        """
        mix = MIXES.get(self.name)
        if mix is None or mix.version != self.version:
            here = "none" if mix is None else f"version {mix.version}"
            wanted = f"version {self.version} of the mix {self.name!r:.60}"
            raise LookupError(f"its tokens are drawn from {wanted}; this program has {here}")
        self._check(mix)
        return mix_of(mix, dict(self.parameters))

    def _check(self, mix: Mix) -> None:
        """Raise ParameterError unless the mix matches the rest of its description."""

    def to_document(self) -> dict[str, Any]:
        """Return the mix as a JSON object for the receipt."""
        return {"name": self.name, "version": self.version, "parameters": dict(self.parameters)}


def parameters_of(chosen: ChosenMix) -> tuple[tuple[str, int], ...]:
    """Return the parameters of a mix in the form used by receipts."""
    return tuple(sorted(chosen.values.items()))


def read_named(fields: Fields) -> NamedMix:
    """Parse the result of `NamedMix.to_document`, from an object that may have further members."""
    given = fields.values["parameters"]
    parameters = Fields(given, fields.place("parameters"), list(given) if isinstance(given, dict) else [])
    if not all(name.isascii() and name.isidentifier() for name in parameters.values):
        fields.fail("parameters", "an object whose members have the names of parameters")
    return NamedMix(
        fields.text("name"),
        fields.integer("version", 1, 1 << 16),
        tuple((name, parameters.integer(name, 0, _LARGEST)) for name in sorted(parameters.values)),
    )


@dataclass(frozen=True)
class Decoding(NamedMix):
    """A mix and its streams."""

    streams: tuple[StreamSource, ...]

    @classmethod
    def of(cls, chosen: ChosenMix, streams: tuple[StreamSource, ...]) -> Decoding:
        """Describe a mix."""
        return cls(chosen.mix.name, chosen.mix.version, parameters_of(chosen), streams)

    def _check(self, mix: Mix) -> None:
        if tuple(stream.kind for stream in self.streams) != mix.streams:
            raise ParameterError(f"the mix {self.name} must have the streams {', '.join(mix.streams)}")

    @property
    def has_partners(self) -> bool:
        """True if a stream uses another model."""
        return any(stream.model is not None for stream in self.streams)

    def to_document(self) -> dict[str, Any]:
        """Return the mix and its streams as a JSON object for the receipt."""
        return super().to_document() | {"streams": [stream.to_document() for stream in self.streams]}

    @classmethod
    def from_document(cls, value: Any) -> Decoding:
        """Parse the result of `to_document`."""
        fields = Fields(value, "request.decoding", ("name", "version", "parameters", "streams"))
        named = read_named(fields)
        streams = fields.each("streams", StreamSource.from_document)
        if not 0 < len(streams) <= MOST_STREAMS:
            fields.fail("streams", f"a list of 1 to {MOST_STREAMS} streams")
        return cls(named.name, named.version, named.parameters, streams)
