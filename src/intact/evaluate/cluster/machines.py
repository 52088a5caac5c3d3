"""The machines of a cluster, and the versions that a machine must share with this one to take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from intact import __version__
from intact.numerics import VERSION


class Machine(NamedTuple):
    """A machine of a cluster that runs work, by its id and address."""

    id: str
    address: str


def machines(ray: Any) -> list[Machine]:
    """Return the machines that are alive and may run work: those with CPUs (``ray start --num-cpus``)."""
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    return [Machine(node["NodeID"], node["NodeManagerAddress"]) for node in alive]


def on(machine: Machine) -> dict[str, Any]:
    """Return the options of a remote function or actor that runs only on this machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(machine.id, soft=False)}


def versions() -> dict[str, str]:
    """Return the versions that must be the same on all machines."""
    return {"intact": __version__, "numerics": str(VERSION)}


def probe() -> Callable[[], dict[str, str]]:
    """Return a function that reports the `versions` of the machine it runs on.

    Because it is defined inside a function, it is sent by value, so it also runs where the package is missing or has
    another version.
    """

    def found() -> dict[str, str]:
        try:
            import intact
            from intact.numerics import VERSION as NUMERICS

            return {"intact": intact.__version__, "numerics": str(NUMERICS)}
        except ImportError as error:
            return {"intact": f"missing ({error})"}

    return found


def refusal(found: dict[str, str]) -> str:
    """Return the reason why a machine that reports these versions cannot take part; an empty string if it can."""
    for name, own in versions().items():
        if (other := found.get(name, "unknown")) != own:
            return f"its version of {name} is {other}; expected {own}"
    return ""
