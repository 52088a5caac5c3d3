"""Recommended sampling settings from a model's own files: GGUF's ``general.sampling.*``, or generation_config.json.

They are only recommendations: `generate` and requests keep their documented defaults unless asked to apply them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from intact._base.errors import IntactError
from intact.checkpoints.formats import Checkpoint
from intact.checkpoints.formats.safetensors import read_json
from intact.engine.sampling.definitions import whole
from intact.engine.sampling.parameters import DEFINITIONS

_GGUF = "general.sampling."
_OF_GGUF = {"temp": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}
_LAST_N, _REPEAT, _ALL = "penalty_last_n", "penalty_repeat", -1
_CONFIG = "generation_config.json"
_OF_CONFIG = ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")
_OTHERS_OF_CONFIG = (
    *("num_beams", "num_beam_groups", "penalty_alpha", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("epsilon_cutoff", "eta_cutoff", "diversity_penalty", "length_penalty", "suppress_tokens"),
)
_NEUTRAL: Mapping[str, Any] = {"num_beams": 1, "num_beam_groups": 1, "length_penalty": 1}


@dataclass(frozen=True)
class SamplingDefaults:
    """The sampling settings that a model's files recommend.

    Attributes
    ----------
    source : str
        Location of the settings; empty if there are none.
    values : tuple of pairs of str and number
        Parameters of `SamplingParameters` with valid values, in that order.
    left_out : tuple of str
        Settings that cannot be used, with their values and reasons.
    """

    source: str = ""
    values: tuple[tuple[str, float], ...] = ()
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-serialisable dictionary."""
        return {"source": self.source, "values": dict(self.values), "left_out": list(self.left_out)}


def sampling_defaults(checkpoint: Checkpoint) -> SamplingDefaults:
    """Read the settings that a model's files recommend; invalid ones are listed in `left_out`.

    In generation_config.json, ``do_sample: false`` means temperature 0; without ``do_sample`` the temperature applies.
    float32 values are rounded to 6 decimals. A GGUF repetition penalty is used only if it covers the whole text
    (``penalty_last_n`` is -1), as ours does.
    """
    try:
        settings = list(_of_gguf(checkpoint.metadata) if checkpoint.format == "gguf" else _of_config(checkpoint))
    except IntactError as error:
        return SamplingDefaults(_CONFIG, left_out=(str(error),))
    values: dict[str, float] = {}
    left_out = []
    for name, value, parameter in settings:
        try:
            if parameter is None:
                left_out.append(f"{name} = {value!r:.60}: not supported")
            else:
                values[parameter] = DEFINITIONS[parameter].check(parameter, _number(value))
        except IntactError as error:
            left_out.append(f"{name} = {value!r:.60}: {error}")
    source = _GGUF + "*" if checkpoint.format == "gguf" else _CONFIG
    ordered = tuple((name, values[name]) for name in DEFINITIONS if name in values)
    return SamplingDefaults(source if ordered or left_out else "", ordered, tuple(left_out))


def _number(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) and whole(value) is None else value


def _of_gguf(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any, str | None]]:
    """Yield settings: name in the file, value, and the matching parameter, or None."""
    for key, value in metadata.items():
        name = key.removeprefix(_GGUF)
        if name in (key, _LAST_N):
            continue
        if name == _REPEAT:
            last = metadata.get(_GGUF + _LAST_N)
            over_all = (whole(last) == _ALL) or (isinstance(value, int | float) and value == 1)
            yield key, value, "repetition_penalty" if over_all else None
        else:
            yield key, value, _OF_GGUF.get(name)


def _of_config(checkpoint: Checkpoint) -> Iterator[tuple[str, Any, str | None]]:
    file = checkpoint.folder / _CONFIG
    config = read_json(file, "the generation configuration") if file.is_file() else {}
    greedy = config.get("do_sample") is False
    if greedy:
        yield "temperature", 0.0, "temperature"
    for name in _OF_CONFIG:
        value = config.get(name)
        if value is not None and not (greedy and name != "repetition_penalty"):
            yield name, value, name
    for name in _OTHERS_OF_CONFIG:
        value = config.get(name)
        if value is not None and value != _NEUTRAL.get(name, 0):
            yield name, value, None
