"""Read logs of responses from other engines: JSON lines, treated as unverified claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intact._base import strict_json
from intact._base.errors import LogError
from intact.measure.audit.openai import flat, unfold
from intact.measure.audit.vllm import unfold_outputs

MOST_BYTES = 1 << 26
"""Maximum file size, because a log is read as a whole."""

LEAST_TEMPERATURE = 0.001
"""Lower limit on temperatures; below it, dividing logits is meaningless."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "typical_p": (1,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({}, []),
    "mirostat": (0,),
    "mirostat_mode": (0,),
    "dry_multiplier": (0,),
    "xtc_probability": (0,),
    "dynatemp_range": (0,),
    "response_format": ({"type": "text"},),
    "json_schema": (),
    "grammar": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "guided_decoding": (),
    "structured_outputs": (),
    "min_tokens": (0,),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "logits_processors": ([],),
    "watermarking": (False,),
    "use_beam_search": (False,),
    "tools": ([],),
    "typical": (1,),
    "tfs_z": (1,),
    "top_a": (0,),
    "top_n_sigma": (0, -1),
    "smoothing_factor": (0,),
    "adaptive_target": (0, -1),
    "samplers": (),
    "ignore_eos": (False,),
    "best_of": (1,),
    "num_beams": (1,),
    "do_sample": (True,),
    "penalty_alpha": (0,),
    "guidance_scale": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "bad_words_ids": ([],),
    "sequence_bias": ({}, []),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "extra_args": ({},),
    "vllm_xargs": ({},),
}
"""Settings that change the distribution and are not recomputed here, with their neutral values (other than null)."""

READ = """
    engine prompt_tokens prompt messages output_tokens text pieces logprobs prompt_logprobs temperature top_p top_k
    min_p seed device gpu_threads batch stop stop_strings
"""
"""The fields of a response that are read."""
IGNORED = """
    model n stream stream_options max_tokens max_completion_tokens max_new_tokens top_logprobs echo user metadata id
    object created usage system_fingerprint service_tier timings finished request_id prompt_token_ids metrics
    return_token_ids return_tokens_as_token_ids include_stop_str_in_output stop_token_ids num_cached_tokens
"""
"""Fields that do not affect how a token is sampled. Names of other fields are reported, since they might."""

DEVICES = ("cpu", "cuda")
GPU_THREADS = 108 * 2048
"""The number for an A100. Newer data centre GPUs run more, but beyond the vocabulary size the number has no effect."""

PromptLogprob = float | Mapping[int, float] | None
"""An entry for a token of the prompt: its log-probability, the log-probabilities of several tokens, or None."""


@dataclass(frozen=True)
class SamplerSettings:
    """The sampler settings stated in a log; settings that it omits are off.

    Attributes
    ----------
    temperature
        0 means the likeliest token.
    top_p, top_k, min_p
        1, 0 and 0 mean off.
    seed
        None if unknown.
    """

    temperature: float
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class LogEntry:
    """One response of a log.

    Attributes
    ----------
    where
        File and line, for error messages.
    engine
        The engine's name in the log, in lower case; empty if missing.
    prompt
        Token ids, a string, or the messages of a conversation.
    output
        Token ids, or None.
    token_bytes
        The bytes of each token, if an endpoint gave these instead of ids, or None.
    text
        The text, or None.
    logprobs
        The engine's log-probability of each token (temperature 1), or None.
    batch
        Number of responses that the engine sampled together.
    device
        The device whose generator produced the noise, one of `DEVICES`; empty if the log does not state it.
    gpu_threads
        Number of threads that this GPU runs concurrently.
    prompt_logprobs
        The engine's log-probability of each token of the prompt, or None.
    stops
        Stop strings at which the engine ended and truncated an answer.
    unread
        Names of unknown fields.
    """

    where: str
    engine: str
    settings: SamplerSettings
    prompt: tuple[int, ...] | str | tuple[Mapping[str, Any], ...]
    output: tuple[int, ...] | None
    token_bytes: tuple[bytes, ...] | None
    text: str | None
    logprobs: tuple[float, ...] | None
    batch: int = 1
    device: str = ""
    gpu_threads: int = GPU_THREADS
    prompt_logprobs: tuple[PromptLogprob, ...] | None = None
    stops: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def read_log(path: Path) -> list[LogEntry]:
    """Read a log.

    Raises
    ------
    LogError
        If a line is invalid (the message names the line and the fault), or the log is empty.
    """
    if path.stat().st_size > MOST_BYTES:
        raise LogError(f"{path} has {path.stat().st_size:,} bytes: split it into logs of at most {MOST_BYTES:,}")
    entries = [entry for where, record in records(path) for entry in entries_of(record, where)]
    if not entries:
        raise LogError(f"{path} contains no response; expected one JSON object per line (docs/audit.md)")
    return entries


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a file of JSON lines, with their locations."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, parse(line, where)


def parse(text: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object from untrusted text."""
    value = strict_json.parse(text, where, error=LogError)
    if not isinstance(value, dict):
        raise LogError(f"{where}: expected a JSON object, got {value!r:.40}")
    return value


def entries_of(record: Mapping[str, Any], where: str) -> Iterator[LogEntry]:
    """Yield the responses of one object: a record in the audit's format, an endpoint's exchange, or vLLM output."""
    if "response" in record or "choices" in record:
        exchanges = unfold(record, where)
    elif "outputs" in record:
        exchanges = unfold_outputs(record, where)
    else:
        exchanges = [{**flat(record, where), "pieces": None}]
    for index, exchange in enumerate(exchanges):
        yield _entry(exchange, where if len(exchanges) == 1 else f"{where}, choice {index}")


def _entry(record: Mapping[str, Any], where: str) -> LogEntry:
    _refuse_unknown_distributions(record, where)
    tokens = _tokens(record, "output_tokens", where)
    text, token_bytes = _optional(record, "text", str, where), record.get("pieces")
    logprobs = _numbers(record, "logprobs", where)
    if tokens is None and text is None and token_bytes is None:
        raise LogError(f"{where}: the output is missing; expected output_tokens (a list of token ids) or text")
    count = len(tokens) if tokens is not None else len(token_bytes) if token_bytes is not None else None
    if logprobs is not None and len(logprobs) != count:
        raise LogError(f"{where}: got {len(logprobs)} logprobs for {'no' if count is None else count} output tokens")
    return LogEntry(
        where,
        str(record.get("engine") or "").lower(),
        _settings(record, where),
        _prompt(record, where),
        output=tokens,
        token_bytes=token_bytes,
        text=text,
        logprobs=logprobs,
        batch=_integer(record, "batch", 1, where, least=1),
        device=_device(record, where),
        gpu_threads=_integer(record, "gpu_threads", GPU_THREADS, where, least=256),
        prompt_logprobs=_prompt_logprobs(record, where),
        stops=_stops(record, where),
        unread=tuple(sorted(record.keys() - {*READ.split(), *IGNORED.split(), *NEUTRAL})),
    )


def _stops(record: Mapping[str, Any], where: str) -> tuple[str, ...]:
    found: list[str] = []
    for name in ("stop", "stop_strings"):
        value = record.get(name)
        several = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(several, list) or not all(isinstance(one, str) for one in several):
            raise LogError(f"{where}: {name} must be a string or a list of strings, got {value!r:.40}")
        found += several
    return tuple(one for one in found if one)


def _settings(record: Mapping[str, Any], where: str) -> SamplerSettings:
    if record.get("temperature") is None:
        raise LogError(f"{where}: temperature is missing: the audit needs the requested value (0 for greedy)")
    temperature = _number(record, "temperature", 0.0, where, bounds=(0.0, 100.0))
    if 0 < temperature < LEAST_TEMPERATURE:
        raise LogError(f"{where}: temperature must be 0 (greedy) or at least {LEAST_TEMPERATURE}, got {temperature!r}")
    seed = record.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise LogError(f"{where}: seed must be an integer or null, got {seed!r:.40}")
    top_k = _integer(record, "top_k", 0, where, least=-1)
    return SamplerSettings(
        temperature,
        _number(record, "top_p", 1.0, where, bounds=(0.0, 1.0)),
        max(0, top_k),
        _number(record, "min_p", 0.0, where, bounds=(0.0, 1.0)),
        seed=None if seed is None or seed < 0 else seed,
    )


def _device(record: Mapping[str, Any], where: str) -> str:
    device = record.get("device")
    if device is not None and device not in DEVICES:
        raise LogError(f"{where}: device must be one of {', '.join(DEVICES)}, got {device!r:.40}")
    return device or ""


def _prompt_logprobs(record: Mapping[str, Any], where: str) -> tuple[PromptLogprob, ...] | None:
    value = _optional(record, "prompt_logprobs", list, where)
    if value is None:
        return None
    found: list[PromptLogprob] = []
    for index, given in enumerate(value):
        name = f"prompt_logprobs[{index}]"
        if isinstance(given, dict):
            several = {token: _log_probability(number, name, where) for token, number in given.items()}
            found.append({_token_id(token, name, where): number for token, number in several.items()})
        else:
            found.append(None if given is None else _log_probability(given, name, where))
    return tuple(found)


def _token_id(name: object, what: str, where: str) -> int:
    if isinstance(name, str) and name.isascii() and name.isdecimal() and len(name) < 10:
        return int(name)
    raise LogError(f"{where}: {what} must map token ids to log-probabilities, got the token {name!r:.40}")


def _prompt(record: Mapping[str, Any], where: str) -> tuple[int, ...] | str | tuple[Mapping[str, Any], ...]:
    given = [name for name in ("prompt_tokens", "messages", "prompt") if record.get(name) is not None]
    if not given:
        raise LogError(f"{where}: the prompt is missing; expected prompt_tokens, messages or prompt")
    if given[0] == "prompt_tokens":
        tokens = _tokens(record, "prompt_tokens", where)
        if not tokens:
            raise LogError(f"{where}: prompt_tokens is empty: the first token's logits need a token before it")
        return tokens
    value = record[given[0]]
    if given[0] == "prompt":
        if not isinstance(value, str):
            raise LogError(f"{where}: prompt must be a string, got {value!r:.40}; give token ids as prompt_tokens")
        return value
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise LogError(f"{where}: messages must be a list of objects with role and content, got {value!r:.40}")
    return tuple(value)


def _refuse_unknown_distributions(record: Mapping[str, Any], where: str) -> None:
    for name, neutral in NEUTRAL.items():
        value = record.get(name)
        if name == "do_sample" and record.get("temperature") == 0:
            continue  # either means greedy
        if value is not None and value not in neutral:
            raise LogError(
                f"{where}: {name} is {value!r:.40}: its effect on the distribution is not recomputed, "
                "so this response cannot be audited"
            )


def _optional(record: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = record.get(name)
    if value is not None and not isinstance(value, kind):
        raise LogError(f"{where}: {name} must be a {kind.__name__}, got {value!r:.40}")
    return value


def _tokens(record: Mapping[str, Any], name: str, where: str) -> tuple[int, ...] | None:
    value = _optional(record, name, list, where)
    for index, token in enumerate(value or ()):
        if isinstance(token, bool) or not isinstance(token, int):
            raise LogError(f"{where}: {name}[{index}] must be an integer, got {token!r:.40}")
    return None if value is None else tuple(value)


def _numbers(record: Mapping[str, Any], name: str, where: str) -> tuple[float, ...] | None:
    value = _optional(record, name, list, where)
    if value is None:
        return None
    return tuple(_log_probability(number, f"{name}[{index}]", where) for index, number in enumerate(value))


def _log_probability(value: object, name: str, where: str) -> float:
    """Read a log-probability: a number, or vLLM's object with the number in `logprob`."""
    number = value.get("logprob") if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not -1e6 < number <= 1e-3:
        raise LogError(f"{where}: {name} must be a log-probability (nats, at most 0), got {number!r:.40}")
    return float(number)


def _number(record: Mapping[str, Any], name: str, default: float, where: str, bounds: tuple[float, float]) -> float:
    value = record.get(name)
    if value is None:
        return default
    good = not isinstance(value, bool) and isinstance(value, int | float)
    if not good or not bounds[0] <= value <= bounds[1]:
        raise LogError(f"{where}: {name} must be a number from {bounds[0]:g} to {bounds[1]:g}, got {value!r:.40}")
    return float(value)


def _integer(record: Mapping[str, Any], name: str, default: int, where: str, least: int) -> int:
    value = record.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
        raise LogError(f"{where}: {name} must be an integer of at least {least}, got {value!r:.40}")
    return value
