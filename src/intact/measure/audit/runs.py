"""Read answers to compare: from receipts, logs in the audit's format, and the output of ``intact run --json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intact._base.errors import LogError
from intact.measure.audit.log import MOST_BYTES, LogEntry, entries_of, parse
from intact.numerics.sampling import LOGPROB_SCALE
from intact.receipts.document import FORMAT, Receipt


@dataclass(frozen=True)
class AnswerRecord:
    """One answer, with everything that a file states about it.

    Attributes
    ----------
    where
        File, and location within it.
    tokens, text
        Either may be None, but not both.
    prompt
        Token ids, a string, messages, or None.
    logprobs
        Log-probabilities of the tokens at temperature 1, in nats, or None.
    about
        Other properties of the run: temperature, seed, profile, engine and so on.
    """

    where: str
    tokens: tuple[int, ...] | None
    text: str | None
    prompt: tuple[int, ...] | str | tuple[Mapping[str, Any], ...] | None
    logprobs: tuple[float, ...] | None
    about: Mapping[str, Any]


def read_runs(path: Path) -> list[AnswerRecord]:
    """Read a file's answers.

    Raises
    ------
    LogError
        If the file is not of one of the three kinds, or is damaged.
    """
    if path.stat().st_size > MOST_BYTES:
        raise LogError(f"{path} has {path.stat().st_size:,} bytes: split it into files of at most {MOST_BYTES:,}")
    data = path.read_bytes()
    if not data.strip():
        raise LogError(f"{path} is empty; expected a receipt, a log (JSON lines), or the output of intact run --json")
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    whole = lines[0][1].strip() in (b"{", b"[") or len(lines) == 1
    if whole:
        record = parse(data, str(path))
        if "completions" in record:
            return _completions(record, str(path))
        return _line(data, str(path))
    return [run for number, line in lines for run in _line(line, f"{path}, line {number}")]


def _line(line: bytes, where: str) -> list[AnswerRecord]:
    record = parse(line, where)
    if record.get("format") == FORMAT:
        return [_receipt(Receipt.parse(line.strip()), where)]
    return [_run(entry) for entry in entries_of(record, where)]


def _receipt(receipt: Receipt, where: str) -> AnswerRecord:
    request, output = receipt.header.request, receipt.output
    logprobs = None if output.logprobs is None else tuple(value / LOGPROB_SCALE for value in output.logprobs)
    about = {
        "model": receipt.header.model.name,
        "weights": receipt.header.model.weights.hex()[:16],
        "profile": receipt.header.numerics.profile,
        "numerics": receipt.header.numerics.version,
        "temperature": float(request.parameters.temperature),
        "seed": request.parameters.seed,
    }
    return AnswerRecord(where, output.tokens, output.text, request.prompt, logprobs=logprobs, about=about)


def _completions(record: Mapping[str, Any], where: str) -> list[AnswerRecord]:
    answers = record["completions"]
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, dict) for answer in answers):
        raise LogError(f"{where}: completions must be a list of objects, as intact run --json prints them")
    names = ("model", "profile", "temperature", "top_p", "top_k", "min_p", "seed")
    about = {name: record[name] for name in names if name in record}
    return [_completion(answer, f"{where}, completion {index}", about) for index, answer in enumerate(answers)]


def _completion(answer: Mapping[str, Any], where: str, about: Mapping[str, Any]) -> AnswerRecord:
    tokens: Any = answer.get("tokens")
    logprobs: Any = answer.get("logprobs")
    if not _integers(tokens) or not (logprobs is None or (_integers(logprobs) and len(logprobs) == len(tokens))):
        raise LogError(
            f"{where}: tokens must be a list of token ids, and logprobs must have null or an integer for each of them"
        )
    scaled = None if logprobs is None else tuple(value / LOGPROB_SCALE for value in logprobs)
    return AnswerRecord(where, tuple(tokens), str(answer.get("text", "")), None, logprobs=scaled, about=about)


def _integers(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(item, int) and not isinstance(item, bool) for item in value)


def _run(entry: LogEntry) -> AnswerRecord:
    settings = entry.settings
    about = {"engine": entry.engine or None, "temperature": settings.temperature, "top_p": settings.top_p}
    about |= {"top_k": settings.top_k, "min_p": settings.min_p, "seed": settings.seed}
    tokens, text = entry.output, entry.text
    if tokens is None and text is None and entry.token_bytes is not None:
        text = b"".join(entry.token_bytes).decode("utf-8", "replace")
    return AnswerRecord(entry.where, tokens, text, entry.prompt, logprobs=entry.logprobs, about=about)
