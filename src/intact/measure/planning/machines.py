"""The machines of a planned cluster: their memory, measured rates and network, read from a TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.files import read_text
from intact._base.suggest import unknown_name
from intact.library.parallel.ranks import parse_address
from intact.measure.planning.work import Segment

MOST: Final = 1000
"""Maximum number of machines in a cluster."""


class Rates(NamedTuple):
    """The measured costs of a machine; a step takes their sum.

    Attributes
    ----------
    macs : float
        Seconds per multiply-add.
    bytes : float
        Seconds per byte of weights, cache or rows.
    operation : float
        Additional seconds per operation.
    message : float
        Processor seconds to send or receive a message whose other end does not wait, excluding its bytes.
    copy : float
        Processor seconds per byte of a message.
    hub : float
        Processor seconds per exchange on rank 0, excluding its messages: waiting and assembling rows.
    spoke : float
        The same on another rank.
    row : float
        Processor seconds per byte of the whole rows of an exchange, on any rank.
    step : float
        Seconds per step on rank 0, excluding its operations: scheduler, sampling, text.
    """

    macs: float
    bytes: float
    operation: float
    message: float
    copy: float
    hub: float
    spoke: float
    row: float
    step: float

    def handle(self, size: int) -> float:
        """Return the processor time to send or receive a message of `size` bytes."""
        return self.message + size * self.copy

    def exchange(self, rank: int, size: int) -> float:
        """Return the processor time of an exchange of `size` bytes of rows on a rank, excluding its messages."""
        return (self.spoke if rank else self.hub) + size * self.row

    def seconds(self, segment: Segment) -> float:
        """Return the time of the work between two exchanges."""
        return segment.macs * self.macs + segment.bytes * self.bytes + segment.operations * self.operation


@dataclass(frozen=True)
class MachineKind:
    """A group of identical machines.

    Attributes
    ----------
    count : int
        Number of machines.
    memory : int
        Bytes that a model may use on each machine.
    latency : float
        One-way network latency, in seconds.
    bandwidth : float
        Bytes per second that a machine sends or receives.
    hours_between_failures : float
        Mean time between failures of one machine; infinity if not stated.
    restart : float
        Seconds until a failed machine is working again, with its weights loaded.
    addresses : tuple of str
        HOST:PORT of each machine, for the commands that start it; empty if not stated.
    """

    name: str
    count: int
    memory: int
    rates: Rates
    latency: float
    bandwidth: float
    hours_between_failures: float = math.inf
    restart: float = 0.0
    addresses: tuple[str, ...] = ()


_KIND: Final = "[[machines]]"
_NETWORK: Final = {"latency_us": (0.0, 1e7), "gbit_per_s": (1e-6, 1e6)}
_RATES: Final = {
    "memory_gb": (1e-3, 1e6),
    "gmacs_per_s": (1e-3, 1e9),
    "gb_per_s": (1e-3, 1e6),
    "operation_us": (0.0, 1e6),
    "message_us": (0.0, 1e6),
    "message_gb_per_s": (1e-6, 1e6),
    "hub_us": (0.0, 1e6),
    "spoke_us": (0.0, 1e6),
    "row_gb_per_s": (1e-6, 1e6),
    "step_us": (0.0, 1e8),
}
"""Required fields for each kind of machine, with minimum and maximum."""
_EARLIER: Final = "exchange_gb_per_s"
"""A field of older files, in which `message_us` had a different meaning."""
_FAILURES: Final = {"hours_between_failures": (1e-3, 1e9), "restart_s": (0.0, 1e7)}
_TEXTS: Final = ("name", "count", "addresses")


def read_machines(file: Path) -> tuple[MachineKind, ...]:
    """Read the machines of a TOML file: a table ``[network]``, and tables ``[[machines]]``.

    Raises
    ------
    ParameterError
        If the file cannot be read, is not TOML, lacks a field, or has an unknown field or one out of range.
    """
    try:
        found = tomllib.loads(read_text(file, ParameterError))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParameterError(f"{file} is not valid TOML: {error}") from error
    _known(f"{file}", found, ("network", "machines"))
    network = found.get("network")
    if not isinstance(network, dict):
        raise ParameterError(f"{file} must have a table [network] with {' and '.join(_NETWORK)}")
    where = f"{file}: [network]"
    _known(where, network, _NETWORK)
    usual = {name: _number(where, network, name, *limits) for name, limits in _NETWORK.items()}
    tables = found.get("machines")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ParameterError(f"{file} must have at least one table {_KIND}; intact plan -m MODEL --measure prints one")
    kinds = tuple(_kind(f"{file}: {_KIND} {number}", table, usual) for number, table in enumerate(tables, 1))
    names = [kind.name for kind in kinds]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ParameterError(f"{file}: two tables {_KIND} are named {twice!r}; names must be unique")
    if (total := sum(kind.count for kind in kinds)) > MOST:
        raise ParameterError(f"{file}: got {total:,} machines; expected at most {MOST:,}")
    return kinds


def machine_toml(name: str, memory: int, rates: Rates, comment: str = "") -> str:
    """Return the table of one kind of machine, with numbers rounded to three digits."""
    fields = {
        "memory_gb": memory / 1e9,
        "gmacs_per_s": 1e-9 / max(rates.macs, 1e-18),
        "gb_per_s": 1e-9 / max(rates.bytes, 1e-15),
        "operation_us": rates.operation * 1e6,
        "message_us": rates.message * 1e6,
        "message_gb_per_s": 1e-9 / max(rates.copy, 1e-15),
        "hub_us": rates.hub * 1e6,
        "spoke_us": rates.spoke * 1e6,
        "row_gb_per_s": 1e-9 / max(rates.row, 1e-15),
        "step_us": rates.step * 1e6,
    }
    lines = [f"{_KIND}{f'  # {comment}' if comment else ''}", f'name = "{name}"', "count = 1"]
    limited = {key: min(max(value, _RATES[key][0]), _RATES[key][1]) for key, value in fields.items()}
    return "\n".join([*lines, *(f"{key} = {float(f'{value:.3g}'):g}" for key, value in limited.items())]) + "\n"


def _kind(where: str, table: Mapping[str, Any], usual: Mapping[str, float]) -> MachineKind:
    if _EARLIER in table:
        raise ParameterError(
            f"{where}: {_EARLIER} is from an earlier version; run intact plan -m MODEL --measure to print new tables"
        )
    _known(where, table, (*_TEXTS, *_RATES, *_NETWORK, *_FAILURES))
    name = table.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > 80 or not name.isprintable():
        raise ParameterError(f"{where}: name must be a string of 1 to 80 characters, got {name!r:.90}")
    where = f"{where} ({name})"
    count = table.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
        raise ParameterError(f"{where}: count must be a whole number from 1 to {MOST:,}, got {count!r:.40}")
    addresses = table.get("addresses", [])
    if not isinstance(addresses, list) or not all(isinstance(one, str) for one in addresses):
        raise ParameterError(f"{where}: addresses must be a list of HOST:PORT, got {addresses!r:.80}")
    for address in addresses:
        parse_address(address, f"{where}: an address")
    if addresses and len(addresses) != count:
        raise ParameterError(
            f"{where}: got {len(addresses)} addresses for {count} machines; give one for each machine, or none"
        )
    values = {field: _number(where, table, field, *limits) for field, limits in _RATES.items()}
    network = {
        field: _number(where, table, field, *limits) if field in table else usual[field]
        for field, limits in _NETWORK.items()
    }
    failures = {f: _number(where, table, f, *limits) for f, limits in _FAILURES.items() if f in table}
    if failures and len(failures) < len(_FAILURES):
        raise ParameterError(
            f"{where}: {' and '.join(_FAILURES)} must be given together, got only {next(iter(failures))}"
        )
    rates = Rates(
        1e-9 / values["gmacs_per_s"],
        1e-9 / values["gb_per_s"],
        values["operation_us"] * 1e-6,
        values["message_us"] * 1e-6,
        copy=1e-9 / values["message_gb_per_s"],
        hub=values["hub_us"] * 1e-6,
        spoke=values["spoke_us"] * 1e-6,
        row=1e-9 / values["row_gb_per_s"],
        step=values["step_us"] * 1e-6,
    )
    return MachineKind(
        name,
        count,
        round(values["memory_gb"] * 1e9),
        rates,
        latency=network["latency_us"] * 1e-6,
        bandwidth=network["gbit_per_s"] * 1e9 / 8,
        hours_between_failures=failures.get("hours_between_failures", math.inf),
        restart=failures.get("restart_s", 0.0),
        addresses=tuple(addresses),
    )


def _known(where: str, table: Mapping[str, Any], names: Any) -> None:
    for name in table:
        if name not in names:
            raise ParameterError(f"{where}: {unknown_name(f'no field named {name!r}', name, names)}")


def _number(where: str, table: Mapping[str, Any], name: str, least: float, most: float) -> float:
    value = table.get(name)
    if name not in table:
        raise ParameterError(
            f"{where}: {name} is missing; intact plan -m MODEL --measure prints its value for a machine"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ParameterError(f"{where}: {name} must be a number from {least:g} to {most:g}, got {value!r:.40}")
    return float(value)
