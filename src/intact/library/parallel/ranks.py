"""The ranks of a model: how many processes it takes, on which machines, and the share of the work of each."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias

from intact._base.errors import ParameterError

MOST: Final = 64
"""Limit on the ranks of a model."""
_MOST_SHARE: Final = 1000
_PART = re.compile(
    r"(?P<place>here|local|(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+):(?P<port>\d{1,5}))(?:\*(?P<share>\d{1,4}))?"
)
Way: TypeAlias = Literal["tensor", "pipeline", "prefill"]
"""The ways to divide work: by rows of every matrix, by layers, or by prompts and answers."""
_WANTED: Final = "a number of processes, or parts such as here*3,local,10.0.0.2:7000*2"


class Rank(NamedTuple):
    """One process.

    Attributes
    ----------
    address : tuple of str and int, or None
        Host and port of an `intact shard`; None: a process of this machine.
    share : int
        Its part of the work, against those of the others.
    """

    address: tuple[str, int] | None = None
    share: int = 1


class Division(NamedTuple):
    """A model's ranks, the first of which is this process, and how it is divided between them."""

    way: Way = "tensor"
    ranks: tuple[Rank, ...] = (Rank(),)

    @property
    def shares(self) -> tuple[int, ...]:
        """The share of the work of each rank."""
        return tuple(rank.share for rank in self.ranks)


ONE_PROCESS: Final = Division()


def choose_division(tensor_parallel: int | str, pipeline_parallel: int | str) -> Division:
    """Return how arguments of `intact.load` divide a model.

    Raises
    ------
    ParameterError
        If one of them cannot be read, or both divide it.
    """
    tensor, pipeline = parse_ranks(tensor_parallel), parse_ranks(pipeline_parallel, "pipeline_parallel")
    if len(tensor) > 1 and len(pipeline) > 1:
        raise ParameterError("tensor_parallel and pipeline_parallel do not go together: give one")
    return Division("tensor", tensor) if len(pipeline) == 1 else Division("pipeline", pipeline)


def parse_ranks(value: int | str, name: str = "tensor_parallel") -> tuple[Rank, ...]:
    """Return the ranks that an argument of `intact.load` names; the first is this process.

    Parameters
    ----------
    value : int or str
        A number of processes on this machine; or parts with commas between: ``local`` for a process of this machine,
        ``HOST:PORT`` for one that listens, each perhaps with ``*SHARE``; ``here*SHARE`` may come first.
    name : str
        The argument, for messages.

    Raises
    ------
    ParameterError
        If it is neither, or too many.

    Examples
    --------
    >>> len(parse_ranks(3))
    3
    >>> parse_ranks("here*2,127.0.0.1:7000")
    (Rank(address=None, share=2), Rank(address=('127.0.0.1', 7000), share=1))
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 5:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST:
            raise ParameterError(f"{name} must be 1 to {MOST} processes, got {value}")
        return (Rank(),) * value
    if not isinstance(value, str) or not value:
        raise ParameterError(f"{name} must be {_WANTED}; got {value!r:.60}")
    parts = value.split(",")
    ranks = [_rank(part, i == 0, name) for i, part in enumerate(parts)]
    if not parts[0].startswith("here"):
        ranks.insert(0, Rank())
    if len(ranks) > MOST:
        raise ParameterError(f"{name} names {len(ranks)} processes: {MOST} at most")
    return tuple(ranks)


def parse_prefill(value: str) -> Rank:
    """Return the process that `prefill` of `intact.load` names.

    Raises
    ------
    ParameterError
        If it is no address, nor ``local``.
    """
    if value == "local":
        return Rank()
    if not isinstance(value, str):
        raise ParameterError(f"prefill must be HOST:PORT of an intact shard, or local; got {value!r:.60}")
    return Rank(parse_address(value, "prefill"))


def parse_address(text: str, what: str = "the address") -> tuple[str, int]:
    """Return host and port of HOST:PORT; an IPv6 address stands in brackets.

    Raises
    ------
    ParameterError
        If it is something else.
    """
    match = _PART.fullmatch(text)
    if match is None or match["host"] is None or match["share"] is not None or int(match["port"]) > 65535:
        raise ParameterError(f"{what} must be HOST:PORT, such as 127.0.0.1:7000, got {text!r:.60}")
    return match["host"].strip("[]"), int(match["port"])


def _rank(text: str, first: bool, name: str) -> Rank:
    match = _PART.fullmatch(text)
    if match is None or (match["place"] == "here" and not first):
        raise ParameterError(f"{name} must be {_WANTED} (here may only come first); got {text!r:.60}")
    share = int(match["share"] or 1)
    if not 1 <= share <= _MOST_SHARE:
        raise ParameterError(f"{name}: a share must be 1 to {_MOST_SHARE}, got {share}")
    return Rank(None if match["host"] is None else parse_address(match["place"], name), share)
