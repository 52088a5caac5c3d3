"""Traffic: arrival times and lengths of requests; read from logs, drawn from a given distribution, and written.

A file has one JSON object per line, in the format of Mooncake's traces (Qin et al., arXiv 2407.00079) and of tools that
replay them: `timestamp` in milliseconds, `input_length` and `output_length` in tokens and, if shared prefixes of
prompts are known, `hash_ids`: a number for each block of the prompt that depends on everything before it. CSV files of
Azure's LLM inference traces and of BurstGPT can be read too.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from intact._base.errors import FormatError, ParameterError
from intact._base.files import read_text, write_whole
from intact._base.strict_json import is_double

BLOCK: Final = 512
"""Tokens per block of `hash_ids`, as in Mooncake's traces."""
LONGEST: Final = 1 << 20
"""Maximum number of tokens in a prompt or an answer."""
MOST: Final = 1 << 20
"""Maximum number of requests in a file."""
_COMMON: Final = (
    "the of and to in is that for it as was with on be by at this are from or have an not which one but all were can "
    "we has more when if their out so up about time than no other been who some into only do two new would also may "
    "these first after any people year way"
)
WORDS: Final = tuple(_COMMON.split())
"""Words that, with the preceding space, are single tokens in most vocabularies."""
_CSV: Final = {
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens"): 1.0,
    ("Timestamp", "Request tokens", "Response tokens"): 1000.0,
}
"""Names of the columns, with the unit of the first in milliseconds if it is a number."""


class TrafficRequest(NamedTuple):
    """A request in a traffic file."""

    timestamp: float
    """Arrival time in milliseconds."""
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...] = ()
    """A number for each block of the prompt; empty if unknown."""

    def text(self, number: int, block: int = BLOCK) -> str:
        """Return a prompt of about `input_length` tokens: one word per token, with equal text for equal block numbers.

        Parameters
        ----------
        number : int
            The request's index in the file; without `hash_ids`, no two requests share a prefix.
        """
        words: list[str] = []
        for place, first in enumerate(range(0, self.input_length, block)):
            name = f"hash {self.hash_ids[place]}" if place < len(self.hash_ids) else f"request {number}.{place}"
            draw = Random(name).random
            size = min(block, self.input_length - first)
            words += [WORDS[int(draw() * len(WORDS))] for _ in range(size)]
        return " ".join(words)


def read_traffic(path: Path) -> list[TrafficRequest]:
    """Read a traffic file: JSON lines, or CSV of Azure or BurstGPT; times are shifted to begin at 0.

    Raises
    ------
    FormatError
        If a line is invalid, a time decreases, or a length is not from 1 to 2^20 (of an answer: from 0); the message
        names the line. Requests without output are skipped.
    """
    text = read_text(path)
    lines = _json_lines(text, path) if text.lstrip()[:1] == "{" else _csv_lines(text, path)
    arrivals: list[TrafficRequest] = []
    begin = last = None
    for line, found in lines:
        if len(arrivals) == MOST:
            raise FormatError(f"{path}, line {line}: a file may have at most {MOST:,} requests")
        begin = found.timestamp if begin is None else begin
        if last is not None and found.timestamp < last:
            raise FormatError(
                f"{path}, line {line}: the request arrives before that of the line above; sort the file by time"
            )
        last = found.timestamp
        if found.output_length:
            arrivals.append(found._replace(timestamp=found.timestamp - begin))
    if not arrivals:
        raise FormatError(f"{path} has no requests")
    return arrivals


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, TrafficRequest]]:
    for line, content in enumerate(text.splitlines(), 1):
        if content.strip():
            try:
                row = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{path}, line {line}: not JSON: {error}") from None
            yield line, _arrival(row, f"{path}, line {line}")


def _arrival(row: Any, where: str) -> TrafficRequest:
    if not isinstance(row, Mapping):
        raise FormatError(f"{where}: expected an object with timestamp, input_length and output_length")
    hashes = row.get("hash_ids") or []
    if not isinstance(hashes, list) or not all(type(value) is int for value in hashes):
        raise FormatError(f"{where}: hash_ids is not a list of integers")
    time = row.get("timestamp")
    if not is_double(time):
        raise FormatError(f"{where}: timestamp is not a number of milliseconds")
    return TrafficRequest(
        float(time), _length(row, "input_length", 1, where), _length(row, "output_length", 0, where), tuple(hashes)
    )


def _length(row: Mapping[str, Any], name: str, least: int, where: str) -> int:
    value = row.get(name)
    if type(value) is not int or not least <= value <= LONGEST:
        raise FormatError(f"{where}: {name} is not an integer from {least} to {LONGEST:,}")
    return value


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, TrafficRequest]]:
    try:
        yield from _csv_rows(csv.DictReader(io.StringIO(text)), path)
    except csv.Error as error:
        raise FormatError(f"{path} is not CSV: {error}") from None


def _csv_rows(table: csv.DictReader[str], path: Path) -> Iterator[tuple[int, TrafficRequest]]:
    names = next((names for names in _CSV if set(names) <= set(table.fieldnames or ())), None)
    if names is None:
        raise FormatError(
            f"{path} is not a traffic file: expected JSON lines with timestamp, input_length and output_length, or CSV "
            f"with the columns {' or '.join(', '.join(names) for names in _CSV)}"
        )
    for row in table:
        where = f"{path}, line {table.line_num}"
        try:
            lengths = {"input_length": int(row[names[1]]), "output_length": int(row[names[2]])}
            time = _milliseconds(row[names[0]], _CSV[names])
        except (TypeError, ValueError) as error:
            raise FormatError(f"{where}: {error}") from None
        yield table.line_num, _arrival({"timestamp": time} | lengths, where)


def _milliseconds(text: str, unit: float) -> float:
    try:
        return float(text) * unit
    except ValueError:
        # Azure writes seven digits of fractional seconds, but fromisoformat reads only six
        head, _, fraction = text.strip().partition(".")
        digits = fraction.partition("+")[0]
        return datetime.fromisoformat(head + "+00:00").timestamp() * 1000 + float(f"0.{digits or 0}") * 1000


def write_traffic(path: Path, arrivals: Iterable[TrafficRequest]) -> None:
    """Write a traffic file as JSON lines."""
    write_whole(path, (json.dumps(_row(arrival)) + "\n" for arrival in arrivals))


def _row(arrival: TrafficRequest) -> dict[str, Any]:
    row = arrival._asdict() | {"timestamp": round(arrival.timestamp), "hash_ids": list(arrival.hash_ids)}
    return row if arrival.hash_ids else {name: value for name, value in row.items() if name != "hash_ids"}


class TrafficLaw(NamedTuple):
    """The distribution that traffic is drawn from.

    Attributes
    ----------
    requests : int
    request_rate : float
        Mean number of requests per second.
    burstiness : float
        Shape of the gamma distribution of the gaps between requests, as in vLLM's `--burstiness`: 1 is a Poisson
        process, lower values are burstier, higher values more even.
    input_len, output_len : int
        Median length of prompts and of answers, in tokens.
    spread : float
        Standard deviation of the logarithm of lengths (log-normal, cut off at 8 times the median); 0 makes all equal.
    prefixes : int
        Number of equally likely prefixes that prompts share; 0 for none.
    prefix_blocks : int
        Blocks of a shared prefix, in addition to `input_len`.
    block : int
        Tokens per block.
    seed : int
    """

    requests: int = 100
    request_rate: float = 1.0
    burstiness: float = 1.0
    input_len: int = 256
    output_len: int = 64
    spread: float = 0.5
    prefixes: int = 0
    prefix_blocks: int = 1
    block: int = BLOCK
    seed: int = 0


def make_traffic(law: TrafficLaw) -> list[TrafficRequest]:
    """Draw traffic from a distribution.

    Raises
    ------
    ParameterError
        If a parameter is out of range.
    """
    _check(law)
    random = Random(law.seed)
    arrivals, time = [], 0.0
    unused = law.prefixes * law.prefix_blocks
    for _ in range(law.requests):
        own, answer = (_drawn_length(random, median, law.spread) for median in (law.input_len, law.output_len))
        shared: tuple[int, ...] = ()
        if law.prefixes:
            first = int(random.random() * law.prefixes) * law.prefix_blocks
            shared = tuple(range(first, first + law.prefix_blocks))
        blocks = -(-own // law.block) if law.prefixes else 0
        hashes = shared + tuple(range(unused, unused + blocks))
        unused += blocks
        arrivals.append(TrafficRequest(time, len(shared) * law.block + own, answer, hashes))
        time += random.gammavariate(law.burstiness, 1000 / (law.request_rate * law.burstiness))
    return arrivals


def _drawn_length(random: Random, median: int, spread: float) -> int:
    return max(1, min(8 * median, round(median * math.exp(random.gauss(0.0, spread)))))


def _check(law: TrafficLaw) -> None:
    for name, least, most in (
        ("requests", 1, MOST), ("request_rate", 1e-6, 1e6), ("burstiness", 0.01, 1e6), ("input_len", 1, LONGEST // 16),
        ("output_len", 1, LONGEST // 16), ("spread", 0, 3), ("prefixes", 0, MOST), ("prefix_blocks", 1, 1024),
        ("block", 1, 1 << 16), ("seed", 0, (1 << 32) - 1),
    ):  # fmt: skip
        value = getattr(law, name)
        if not least <= value <= most:
            raise ParameterError(f"{name} must be from {least:,} to {most:,}, got {value}")
    if law.prefixes and law.prefix_blocks * law.block > LONGEST // 2:
        raise ParameterError(
            f"a shared prefix may have at most {LONGEST // 2:,} tokens, got {law.prefix_blocks * law.block:,}"
        )
