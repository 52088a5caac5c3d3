"""The ranks of a model: the number of processes, their machines, and each one's share of the work."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias

from intact._base.errors import ParameterError

MOST: Final = 64
"""Limit on the number of ranks of a model."""
_MOST_SHARE: Final = 1000
_PART = re.compile(
    r"(?P<place>here|local|(?P<host>\[[0-9A-Fa-f:.]+\]|[\w.-]+):(?P<port>\d{1,5}))(?:\*(?P<share>\d{1,4}))?"
)
Way: TypeAlias = Literal["tensor", "pipeline", "prefill"]
"""Ways to divide work: by rows of every matrix, by layers, or into prefill and decoding."""
_WANTED: Final = "a number of processes, or parts such as here*3,local,10.0.0.2:7000*2"


class Rank(NamedTuple):
    """One process of a model.

    Attributes
    ----------
    address : tuple of str and int, or None
        Host and port of an `intact shard`; None for a process on this machine.
    share : int
        Share of the work, relative to the other ranks' shares.
    """

    address: tuple[str, int] | None = None
    share: int = 1


class Division(NamedTuple):
    """A model's ranks, starting with this process, and the way the model is divided between them."""

    way: Way = "tensor"
    ranks: tuple[Rank, ...] = (Rank(),)

    @property
    def shares(self) -> tuple[int, ...]:
        """Share of the work of each rank."""
        return tuple(rank.share for rank in self.ranks)


ONE_PROCESS: Final = Division()


def choose_division(tensor_parallel: int | str, pipeline_parallel: int | str) -> Division:
    """Return the division of a model that the arguments of `intact.load` specify.

    Raises
    ------
    ParameterError
        If an argument is malformed, or both kinds of parallelism are requested.
    """
    tensor, pipeline = parse_ranks(tensor_parallel), parse_ranks(pipeline_parallel, "pipeline_parallel")
    if len(tensor) > 1 and len(pipeline) > 1:
        raise ParameterError("tensor_parallel and pipeline_parallel cannot be combined: choose one")
    return Division("tensor", tensor) if len(pipeline) == 1 else Division("pipeline", pipeline)


def parse_ranks(value: int | str, name: str = "tensor_parallel") -> tuple[Rank, ...]:
    """Return the ranks that an argument of `intact.load` names; the first is this process.

    Parameters
    ----------
    value : int or str
        A number of processes on this machine; or comma-separated parts: ``local`` for a process on this machine,
        ``HOST:PORT`` for a listening shard, each optionally with ``*SHARE``; ``here*SHARE`` may come first.
    name : str
        Name of the argument, for error messages.

    Raises
    ------
    ParameterError
        If the value is malformed, or names too many processes.

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
            raise ParameterError(f"{name} must be from 1 to {MOST} processes, got {value}")
        return (Rank(),) * value
    if not isinstance(value, str) or not value:
        raise ParameterError(f"{name} must be {_WANTED}; got {value!r:.60}")
    parts = value.split(",")
    ranks = [_rank(part, i == 0, name) for i, part in enumerate(parts)]
    if not parts[0].startswith("here"):
        ranks.insert(0, Rank())
    if len(ranks) > MOST:
        raise ParameterError(f"{name} names {len(ranks)} processes; expected at most {MOST}")
    return tuple(ranks)


def parse_prefill(value: str) -> Rank:
    """Return the process that `prefill` of `intact.load` names.

    Raises
    ------
    ParameterError
        If it is neither an address nor ``local``.
    """
    if value == "local":
        return Rank()
    if not isinstance(value, str):
        raise ParameterError(f"prefill must be HOST:PORT of an intact shard, or local; got {value!r:.60}")
    return Rank(parse_address(value, "prefill"))


def parse_address(text: str, what: str = "the address") -> tuple[str, int]:
    """Parse HOST:PORT into host and port; an IPv6 address is written in brackets.

    Raises
    ------
    ParameterError
        If the string is malformed.
    """
    match = _PART.fullmatch(text)
    if match is None or match["host"] is None or match["share"] is not None or int(match["port"]) > 65535:
        raise ParameterError(f"{what} must be HOST:PORT, such as 127.0.0.1:7000, got {text!r:.60}")
    return match["host"].strip("[]"), int(match["port"])


def _rank(text: str, first: bool, name: str) -> Rank:
    match = _PART.fullmatch(text)
    if match is None or (match["place"] == "here" and not first):
        raise ParameterError(f"{name} must be {_WANTED} ('here' may only come first); got {text!r:.60}")
    share = int(match["share"] or 1)
    if not 1 <= share <= _MOST_SHARE:
        raise ParameterError(f"{name}: a share must be from 1 to {_MOST_SHARE}, got {share}")
    return Rank(None if match["host"] is None else parse_address(match["place"], name), share)
