"""The models of a run, with the mixes from which their completions are sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intact._base.errors import ParameterError
from intact._base.strict_json import Fields
from intact.engine.mixes import Mix
from intact.receipts.decoding import MOST_STREAMS, Decoding, NamedMix, StreamSource, parameters_of, read_named
from intact.receipts.identity import digests_of
from intact.receipts.lock import LockedModel
from intact.receipts.model_digests import ModelDigests

if TYPE_CHECKING:
    from intact.engine.request import Mixing
    from intact.library import Model
    from intact.reason.backends.text_mix import TextMix

LONGEST: Final = 1 << 18
"""Maximum number of characters in a prompt or shadow, which is tokenised before anything else is checked."""


@dataclass(frozen=True)
class RunMix(NamedMix):
    """The mix from which all completions of a model are sampled.

    Attributes
    ----------
    shadow : str or None
        The text that replaces the last message of each prompt, or the whole prompt if it is plain text, in the shadow
        stream; None if the mix has no shadow.
    partners : tuple of ModelDigests
        The additional models of the mix, in its order, with the arithmetic of the run's model.
    """

    shadow: str | None
    partners: tuple[ModelDigests, ...]

    @classmethod
    def of(cls, mix: TextMix, model: Model) -> RunMix:
        """Describe the mix of a model's back end."""
        partners = [digests_of(model.partners[number - 1]) for number in mix.models if number]
        chosen = mix.chosen
        return cls(chosen.mix.name, chosen.mix.version, parameters_of(chosen), mix.shadow, partners=tuple(partners))

    def _check(self, mix: Mix) -> None:
        if (self.shadow is not None) != ("shadow" in mix.streams) or len(self.partners) != mix.streams.count("partner"):
            raise ParameterError(f"the mix {self.name} must have the streams {', '.join(mix.streams)}")

    def decoding(self, mixing: Mixing) -> Decoding:
        """Return the description of the mix for the header of a completion's own receipt, with the given streams."""
        partners = iter(self.partners)
        streams = [
            StreamSource(model=next(partners)) if stream.model else StreamSource(tuple(stream.tokens.tolist()))
            for stream in mixing.streams
        ]
        return Decoding(self.name, self.version, self.parameters, tuple(streams))

    def to_document(self) -> dict[str, Any]:
        """Return the mix as a JSON object for the receipt."""
        partners = [partner.to_document() for partner in self.partners]
        return super().to_document() | {"shadow": self.shadow, "partners": partners}

    @classmethod
    def from_document(cls, value: Any, where: str) -> RunMix:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("name", "version", "parameters", "shadow", "partners"))
        named = read_named(fields)
        shadow = fields.maybe("shadow", fields.text)
        if shadow is not None and len(shadow) > LONGEST:
            fields.fail("shadow", f"a string of at most {LONGEST:,} characters")
        partners = fields.each("partners", ModelDigests.from_document)
        if len(partners) > MOST_STREAMS:
            fields.fail("partners", f"a list of at most {MOST_STREAMS} models")
        return cls(named.name, named.version, named.parameters, shadow, partners=partners)


@dataclass(frozen=True)
class RunModel(LockedModel):
    """A model of a run.

    Attributes
    ----------
    mix : RunMix or None
        The mix from which its completions are sampled; None if they come from its own distribution, or it generated
        none.
    """

    mix: RunMix | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the model as a JSON object for the receipt of a run."""
        return super().to_document() | ({} if self.mix is None else {"mix": self.mix.to_document()})

    @classmethod
    def from_document(cls, value: Any, where: str) -> RunModel:
        """Parse the result of `to_document`."""
        mixed = isinstance(value, dict) and "mix" in value
        rest = {name: member for name, member in value.items() if name != "mix"} if mixed else value
        locked = LockedModel.from_document(rest, where)
        mix = RunMix.from_document(value["mix"], f"{where}.mix") if mixed else None
        return cls(locked.name, locked.digests, locked.numerics, mix)
