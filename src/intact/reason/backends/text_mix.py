"""The mix that a back end samples from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from intact.engine.mixes import ChosenMix, check_shadow, chosen_mix, shadow_messages
from intact.numerics.sampling import DECIMALS
from intact.reason.problem import Prompt


class TextMix(NamedTuple):
    """The mix from which all completions of a back end are sampled (docs/mixing.md).

    Attributes
    ----------
    chosen : ChosenMix
        The mix; its partners are the model's partners.
    shadow : str or None
        The text that replaces the last message of each prompt, or the whole prompt if it is plain text, in the shadow
        stream.
    partners : tuple of int
        Numbers of the model's partners that the mix uses, counted from 1, in the mix's order; by default the first
        ones.
    """

    chosen: ChosenMix
    shadow: str | None = None
    partners: tuple[int, ...] = ()

    @classmethod
    def of(cls, mix: str | Mapping[str, Any] | None, shadow: str | None = None) -> TextMix | None:
        """Validate a mix in the form that `Model.generate` takes; return None if no mix is given.

        Raises
        ------
        ParameterError
            If the mix is unknown, a parameter is invalid, or the shadow is missing or has no effect.
        """
        chosen = None if mix is None else chosen_mix(mix)
        check_shadow(chosen, shadow is not None)
        return None if chosen is None else cls(chosen, shadow)

    @property
    def models(self) -> tuple[int, ...]:
        """The model of each additional stream: 0 for the main model, else the number of a partner."""
        own = self.chosen.models
        return tuple([self.partners[number - 1] if number else 0 for number in own]) if self.partners else own

    def shadow_of(self, prompt: Prompt) -> Prompt:
        """Return the shadow of a prompt.

        Raises
        ------
        ParameterError
            If the last message of a conversation is not the user's.
        """
        shadow = self.shadow or ""
        if isinstance(prompt, str):
            return shadow
        messages = shadow_messages([{"role": role, "content": text} for role, text in prompt], shadow)
        return tuple([(message["role"], message["content"]) for message in messages])

    @property
    def words(self) -> str:
        """The mix in the form that `read_mix` parses, such as ``guidance:scale=2.5``."""
        mix, values = self.chosen
        given = [f"{name}={Decimal(value) / DECIMALS}" for name, value in values.items()]
        return f"{mix.name}:{','.join(given)}" if given else mix.name

    def to_document(self, partners: Sequence[str]) -> dict[str, Any]:
        """Return the mix's name, version, parameters in millionths and shadow, with the names of its partners."""
        mix, values = self.chosen
        return {
            "name": mix.name,
            "version": mix.version,
            "parameters": dict(sorted(values.items())),
            "shadow": self.shadow,
            "partners": list(partners),
        }
