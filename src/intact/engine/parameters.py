"""Sampling parameters as values, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from intact.errors import ParameterError
from intact.numerics.sampling import Sampling, make_sampling


def _number(name: str, value: object, low: float, high: float, interval: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ParameterError(f"{name} must lie in {interval}, got {value!r}")
    return float(value)


def _integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(f"{name} must be an integer from {low} to {high}, got {value!r}")
    return value


@dataclass(frozen=True)
class SamplingParameters:
    """How tokens are drawn and when a completion ends.

    Attributes
    ----------
    temperature : float
        0 for greedy decoding; at most 6 decimals, as it is taken for the decimal number that it shows.
    top_p, min_p : float
        At most 6 decimals; `top_k` 0 keeps all. All filters apply after the temperature: top_k, then top_p, then min_p.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _integer("max_tokens", self.max_tokens, 1, 1 << 30)
        _number("temperature", self.temperature, 0, 1000, "[0, 1000]")
        if _number("top_p", self.top_p, 0, 1, "(0, 1]") == 0:
            raise ParameterError(f"top_p must lie in (0, 1], got {self.top_p!r}")
        _integer("top_k", self.top_k, 0, 1 << 30)
        _number("min_p", self.min_p, 0, 1, "[0, 1]")
        _integer("seed", self.seed, -(1 << 63), (1 << 64) - 1)
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        for name in ("temperature", "top_p", "min_p"):
            value = float(getattr(self, name))
            if round(value, 6) != value:
                raise ParameterError(f"{name} may have at most 6 decimals, got {value!r}")
            object.__setattr__(self, name, value)

    @property
    def sampling(self) -> Sampling:
        """The same as exact integers."""
        return make_sampling(self.temperature, self.top_k, self.top_p, self.min_p)
