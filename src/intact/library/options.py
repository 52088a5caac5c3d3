"""The keyword arguments of requests, and their validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.engine.completion import Listener
from intact.engine.mixes import check_shadow, chosen_mix
from intact.engine.model import prompt_id
from intact.engine.sampling.definitions import check_unicode, flag, integer
from intact.engine.sampling.parameters import DEFINITIONS, SamplingFields, SamplingParameters
from intact.library.prompts import Prompt, as_sequence
from intact.receipts.canonical import HashName
from intact.receipts.make import wanted_hash

MOST_SAMPLES = 1 << 20
"""Limit on the number of samples per prompt; their keys are all created up front."""


class ServiceFields(TypedDict, total=False):
    """Keyword arguments for serving options and for extra data in completions; they do not affect the tokens.

    Attributes
    ----------
    logprobs : bool
        If true, completions carry the log-probabilities of their tokens.
    priority : int
        From -8 to 8; among concurrent requests to a model, higher priorities are served first.
    draft : bool
        If true, the default, the model's drafter may be used.
    receipt : bool, 'sha256' or 'blake3'
        If not false, completions carry a receipt with which others can verify them (docs/spec/receipts.md). True means
        SHA-256. A model's first receipt reads its weights again to compute their digest.
    """

    logprobs: bool
    priority: int
    draft: bool
    receipt: bool | HashName


class MixFields(TypedDict, total=False):
    """Keyword arguments for the mix from which tokens are drawn (docs/mixing.md).

    Attributes
    ----------
    mix : str or mapping, optional
        Name of the mix, or a mapping of `name` and parameters.
    shadow : prompt or list of prompts, optional
        For each prompt, a second prompt that the same model reads in parallel, if the mix takes one.
    """

    mix: str | Mapping[str, Any] | None
    shadow: Prompt | Sequence[Prompt] | None


class AdapterFields(TypedDict, total=False):
    """Keyword argument for a request's adapter (docs/adapters.md).

    Attributes
    ----------
    adapter : str, optional
        Name of the adapter, "" for the model without one; by default the one given to `load`.
    """

    adapter: str | None


class RequestFields(SamplingFields, ServiceFields, MixFields, AdapterFields, total=False):
    """Keyword arguments of all generating calls: the fields of `SamplingParameters` and of the three groups above."""


_SERVICE = (*ServiceFields.__annotations__, *MixFields.__annotations__, *AdapterFields.__annotations__)


def check_option_names(given: Iterable[str]) -> None:
    """Raise ParameterError if a name is not one of `RequestFields`."""
    for name in given:
        if name not in DEFINITIONS and name not in _SERVICE:
            raise ParameterError(unknown_name(f"no option named {name!r:.60}", name, [*DEFINITIONS, *_SERVICE]))


@dataclass(kw_only=True)
class GenerateOptions:
    """The validated arguments of `Model.generate` except the prompts; `listen` is called with each chunk.

    Raises
    ------
    ParameterError
        If an argument is invalid.
    """

    parameters: SamplingParameters
    n: int = 1
    ids: Sequence[str] | None = None
    priority: int = 0
    draft: bool = True
    logprobs: bool = False
    receipt: bool | HashName = False
    on_error: Literal["raise", "return"] = "raise"
    listen: Listener | None = None
    mix: str | Mapping[str, Any] | None = None
    shadow: Prompt | Sequence[Prompt] | None = None
    adapter: str | None = None

    def __post_init__(self) -> None:
        self.chosen = None if self.mix is None else chosen_mix(self.mix)
        check_shadow(self.chosen, self.shadow is not None)
        if self.on_error not in ("raise", "return"):
            raise ParameterError(f"on_error must be 'raise' or 'return', got {self.on_error!r:.60}")
        self.n = integer("n", self.n, 1, MOST_SAMPLES)
        self.priority = integer("priority", self.priority, -8, 8)
        flag("draft", self.draft)
        flag("logprobs", self.logprobs)
        self.hash = None if self.receipt is False else wanted_hash(self.receipt)

    @classmethod
    def of(cls, fields: RequestFields, **others: Any) -> GenerateOptions:
        """Create options from keyword arguments and from the values of other fields."""
        given: dict[str, Any] = dict(fields)
        check_option_names(given)
        service = {name: given.pop(name) for name in _SERVICE if name in given}
        return cls(parameters=SamplingParameters.by_name(given), **service, **others)

    def name(self, i: int, tokens: list[int], count: int) -> str:
        """Return a prompt's name, which keys its draws."""
        if self.ids is None:
            return prompt_id(tokens)
        if isinstance(self.ids, str) or len(as_sequence(self.ids, "ids")) != count:
            raise ParameterError(
                f"ids must be a list with a name for each of the {count} prompts, got {self.ids!r:.60}"
            )
        name = self.ids[i]
        if not isinstance(name, str):
            raise ParameterError(
                f"ids[{i}] must be a string, got {name!r:.60}: prompts with the same name share their draws"
            )
        check_unicode(f"ids[{i}]", name)
        return name
