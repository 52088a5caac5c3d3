"""An API: the form of its requests, and the answers in its responses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from intact._base.errors import EndpointError
from intact.measure.meter.answers import EndpointAnswer


class Setting(NamedTuple):
    """Sampling settings: a temperature, and a seed unless it is 0."""

    temperature: float
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        """If true, all choices must be the same."""
        return not self.temperature

    def __str__(self) -> str:
        return "temperature 0" if self.greedy else f"temperature {self.temperature:g}, seed {self.seed}"


class Question(NamedTuple):
    """One request, independent of any API.

    Attributes
    ----------
    system, user
        The messages.
    setting
        The sampling settings.
    tokens
        Maximum number of tokens per answer.
    n
        Number of answers.
    stream
        If true, ask for a stream of events.
    """

    system: str
    user: str
    setting: Setting
    tokens: int
    n: int = 1
    stream: bool = False

    @property
    def most_tokens(self) -> int:
        """An upper bound on prompt and generated tokens: a byte of a prompt is at most one token."""
        return len((self.system + self.user).encode()) + 64 + self.tokens * self.n


class ParsedResponse(NamedTuple):
    """The answers in a response, and the token counts that the endpoint reported; None if it reported none."""

    answers: list[EndpointAnswer]
    read: int | None = None
    written: int | None = None


class Api(ABC):
    """One API.

    Attributes
    ----------
    name
        The name for ``--api``.
    models
        Path of the list of models, below the base address.
    path
        Path of requests.
    optional
        Fields that an endpoint may reject; a request is repeated without the field named in the rejection.
    """

    name: ClassVar[str]
    models: ClassVar[str]
    path: ClassVar[str]
    optional: ClassVar[tuple[str, ...]] = ()
    filters: ClassVar[tuple[str, ...]] = ()
    """Fields that turn off a sampler's filters, which servers otherwise set to their own defaults."""
    several: ClassVar[bool] = True
    """If true, one request can ask for several answers."""

    @abstractmethod
    def headers(self, secret: str) -> dict[str, str]:
        """Return the headers of every request; `secret` is the API key, or empty."""

    @abstractmethod
    def first_model(self, listing: Mapping[str, Any]) -> str:
        """Return the name of the first model in a listing; raise LookupError or TypeError if there is none."""

    @abstractmethod
    def body(self, question: Question, model: str) -> dict[str, Any]:
        """Return the body of a request."""

    @abstractmethod
    def read(self, body: Mapping[str, Any]) -> ParsedResponse:
        """Read a response. Raise LookupError, TypeError, ValueError or AttributeError if its structure is wrong."""

    @abstractmethod
    def read_events(self, events: Sequence[Mapping[str, Any]]) -> ParsedResponse:
        """Read the events of a streamed response; errors as for `read`."""


def count(value: Any) -> int | None:
    """Return a number of tokens from a response, or None if it is not plausible."""
    return value if type(value) is int and 0 <= value < 1 << 31 else None


def refuse_error(event: Mapping[str, Any]) -> None:
    """Raise EndpointError if an event of a stream reports an error."""
    if event.get("error"):
        raise EndpointError(f"the stream broke off: {event['error']!r:.200}")
