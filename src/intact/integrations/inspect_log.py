"""inspect_ai's ``.eval`` logs: read them as untrusted files, and find the answers with their receipts.

A log is a ZIP archive with a JSON file for each sample and epoch. Sizes are bounded before anything is parsed.

The Merkle tree of a log (RFC 6962) has a leaf for each sample, ``SHA-256(0x00, file name, LF, content)``. Leaves are
ordered by epoch, then by place in the data set, so the root does not depend on the order in which samples ended.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from intact._base.errors import LogError, ParameterError
from intact._base.packages import check_installed
from intact._base.strict_json import parse
from intact.evaluate.model_judge import Rubric
from intact.integrations.inspect_request import STOP_REASONS, request_of, text_of
from intact.receipts import canonical
from intact.receipts.canonical import digest
from intact.receipts.identity import path_of, root_of

PROVIDER: Final = "intact/"
"""Beginning of the names of models whose answers have receipts."""
MOST_MEMBERS: Final = 1 << 20
MOST_BYTES: Final = 1 << 28
"""Maximum bytes of a member of the archive, unpacked."""
MOST_FILLED: Final = 1 << 31
"""Maximum number of values and characters of a sample, with its attachments wherever they are used."""
MOST_REQUEST: Final = 1 << 26
"""Maximum number of values and characters of a request."""
_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93
_LOCAL: Final = struct.Struct("<4s22xHH")
"""The beginning of a member: signature, and the lengths of its name and of an extra field."""
_PART: Final = 1 << 20
"""Bytes unpacked at a time."""
_ATTACHMENT: Final = "attachment://"
_LEAF: Final = b"\0"


class LogFault(NamedTuple):
    """A way in which a log contradicts itself.

    Attributes
    ----------
    where : str
        The file's member or the sample.
    """

    where: str
    detail: str


class EvalAnswer(NamedTuple):
    """A model's answer in a log.

    Attributes
    ----------
    where : str
        Sample, epoch and number of the generation, for messages.
    choice : int
        Its number among the answers to the request.
    body : dict
        The request that the log implies.
    id : str or None
        The name that keys the draws; None for the prompt's.
    message, stop_reason : dict, str
        The answer as the log has it.
    receipt : bytes or None
        Its receipt in canonical form, unparsed; None if there is none.
    """

    where: str
    choice: int
    body: dict[str, Any]
    id: str | None
    message: dict[str, Any]
    stop_reason: str
    receipt: bytes | None


@dataclass(frozen=True)
class SampleName:
    """A sample and an epoch of it."""

    id: int | str
    epoch: int

    @property
    def member(self) -> str:
        """The file of the sample in the archive."""
        return f"samples/{self.id}_epoch_{self.epoch}.json"

    def __str__(self) -> str:
        return f"sample {self.id!r:.80}, epoch {self.epoch}"


class LoggedSample:
    """A sample of a log.

    Parameters
    ----------
    content : bytes
        The sample's JSON file.

    Raises
    ------
    LogError
        If it is not a sample.
    """

    def __init__(self, member: str, content: bytes) -> None:
        value = parse(content, member, error=LogError, constant=float)
        _require(value, member, {"id": int | str, "epoch": int, "events": list, "messages": list})
        self.name = SampleName(value["id"], value["epoch"])
        self.uuid = value.get("uuid")
        self._member = member
        self._attachments = _mapping(value.get("attachments"), f"{member}: attachments")
        self._pool = _mapping(value.get("events_data"), f"{member}: events_data").get("messages", [])
        self._value, self._left = value, MOST_FILLED

    @cached_property
    def generations(self) -> list[dict[str, Any]]:
        """The finished generations of models, in order, with their inputs and attachments filled in."""
        found = []
        for event in self._value["events"]:
            if not isinstance(event, dict) or event.get("event") != "model" or event.get("error"):
                continue
            output = event.get("output")
            if isinstance(output, dict) and output.get("choices"):
                found.append(self._filled(event | {"input": self._input(event)}))
        return found

    @property
    def others(self) -> int:
        """The number of generations by models of other providers."""
        return sum(not str(each.get("model")).startswith(PROVIDER) for each in self.generations)

    def answers(self) -> Iterator[EvalAnswer]:
        """Yield the answers of this package's models.

        Raises
        ------
        LogError
            If a generation does not have the form that inspect_ai writes.
        """
        for number, event in enumerate(self.generations, 1):
            if str(event.get("model")).startswith(PROVIDER):
                where = f"{self.name}, generation {number}"
                try:
                    yield from _answers(event, where)
                except LogError:
                    raise
                except (KeyError, TypeError, AttributeError, ValueError) as error:
                    raise LogError(f"{where} is not in the form that inspect_ai writes: {error!r:.200}") from error

    def faults(self) -> Iterator[LogFault]:
        """Yield outputs and messages that no generation of the sample gave, and scores that no judge gave."""
        given = {_identity(choice["message"]) for event in self.generations for choice in event["output"]["choices"]}
        messages = self._filled(self._value["messages"])
        for i, message in enumerate(messages):
            if not isinstance(message, dict):
                yield LogFault(str(self.name), f"message {i} is not an object")
            elif message.get("source") == "generate" and _identity(message) not in given:
                yield LogFault(str(self.name), f"message {i} is not the text of any of its generations")
        output = self._filled(self._value.get("output") or {})
        for choice in output.get("choices") or ():
            if _identity(choice["message"]) not in given:
                yield LogFault(str(self.name), "its output is not the text of any of its generations")
        if output.get("choices") and output.get("completion", "") not in ("", _text(output["choices"][0]["message"])):
            yield LogFault(str(self.name), "its completion is not the text of its output")
        yield from self._score_faults()

    def _score_faults(self) -> Iterator[LogFault]:
        """Yield scores by this package's judge that are not those of its generation."""
        scores = self._filled(_mapping(self._value.get("scores"), "scores"))
        for scorer, score in scores.items():
            judged = (score.get("metadata") or {}).get("intact_judge") if isinstance(score, dict) else None
            if isinstance(judged, dict) and (detail := self._misjudged(score.get("value"), judged)) is not None:
                yield LogFault(f"{self.name}, score {scorer!r:.60}", detail)

    def _misjudged(self, value: Any, judged: Mapping[str, Any]) -> str | None:
        """Return how a score differs from the generation of its judge; None if it does not."""
        own = [
            (event, choice["message"], i)
            for event in self.generations
            for i, choice in enumerate(event["output"]["choices"])
            if choice["message"].get("id") == judged.get("message")
        ]
        if not own:
            return "the answer of its judge is not among the generations"
        event, message, i = own[0]
        try:
            rubric = Rubric(judged["template"], tuple(judged["labels"]))
            question = {"question": self._question, "reference": self._target, "answer": self._completion}
            if event["config"]["extra_body"]["intact"]["regex"] != rubric.regex:
                return "its judge was to choose among other labels"
            if text_of(event["input"][-1]["content"]) != rubric.fill(question):
                return "its judge was asked about another question or answer"
            if event["output"]["metadata"]["intact"]["receipts"][i] != judged["receipt"]:
                return "its receipt is not that of the judge's answer"
        except (KeyError, IndexError, TypeError, AttributeError, ParameterError) as error:
            return f"it is not in the form that the judge writes: {error!r:.200}"
        if rubric.values.get(_text(message)) != value:
            return f"its value is {value!r:.40}, but the judge answered {_text(message)!r:.60}"
        return None

    @property
    def _question(self) -> str:
        """The sample's question, as inspect_ai's `TaskState.input_text` gives it."""
        given = self._filled(self._value.get("input"))
        if isinstance(given, str):
            return given
        return next((text_of(one["content"]) for one in reversed(given) if one.get("role") == "user"), "")

    @property
    def _target(self) -> str:
        given = self._filled(self._value.get("target"))
        return given if isinstance(given, str) else "".join(given)

    @property
    def _completion(self) -> str:
        return str(self._filled(self._value["output"]["completion"]))

    def _input(self, event: Mapping[str, Any]) -> list[Any]:
        """Return the messages of a generation's input; newer logs keep those of all generations in one list."""
        if event.get("input_refs") is None:
            return list(event["input"])
        try:
            places = [range(first, min(end, len(self._pool))) for first, end in event["input_refs"]]
        except (TypeError, ValueError) as error:
            raise LogError(f"{self._member}: input_refs must be pairs of numbers of messages") from error
        self._spend(sum(map(len, places)))
        return [self._pool[i] for several in places for i in several]

    def _filled(self, value: Any) -> Any:
        """Return a value with its attachments, long texts that the log keeps in a separate list, in place."""
        self._spend(1)
        if isinstance(value, str) and value.startswith(_ATTACHMENT):
            text = self._attachments.get(value.removeprefix(_ATTACHMENT), value)
            self._spend(len(text) if isinstance(text, str) else 0)
            return text
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if isinstance(value, dict):
            return {name: self._filled(one) for name, one in value.items()}
        return value

    def _spend(self, size: int) -> None:
        """Count values and characters that are filled in; raise if a small file claims to hold very many."""
        self._left -= size
        if self._left < 0:
            raise LogError(f"{self._member}: with its attachments it has more than {MOST_FILLED:,} characters")


class InspectLog:
    """An ``.eval`` log, opened for reading.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    LogError
        If it is not such a log.

    Attributes
    ----------
    expected : list of SampleName
        The samples that the header announces, ordered by epoch and then by place in the data set.
    members : list of str
        The files of samples that are there, in the file's order.
    status : str
        The status in the header.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise LogError(f"{path} is no .eval log: {error!s:.200}") from error
        self.path = path
        names = self._archive.namelist()
        if len(names) > MOST_MEMBERS:
            raise LogError(f"{path} has {len(names):,} members; at most {MOST_MEMBERS:,} are read")
        self.members = [name for name in names if name.startswith("samples/")]
        self._double = sorted(name for name, count in Counter(names).items() if count > 1)
        if "header.json" not in names:
            raise LogError(f"{path} has no header.json: it is not a finished log of inspect_ai in the .eval format")
        header = self._json("header.json")
        _require(header, "header.json", {"eval": dict, "status": str})
        self.status, self._spec = header["status"], header["eval"]
        dataset = _mapping(self._spec.get("dataset"), "header.json: eval.dataset")
        ids = dataset.get("sample_ids")
        if not isinstance(ids, list) or not all(isinstance(one, int | str) for one in ids):
            raise LogError(f"{path}: eval.dataset.sample_ids of header.json must be a list of ids")
        epochs = _mapping(self._spec.get("config"), "header.json: eval.config").get("epochs") or 1
        if not isinstance(epochs, int) or not 0 < epochs * max(1, len(ids)) <= MOST_MEMBERS:
            raise LogError(f"{path}: eval.config.epochs of header.json must be a positive number, got {epochs!r:.40}")
        self.expected = [SampleName(one, epoch) for epoch in range(1, epochs + 1) for one in ids]

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, member: str) -> bytes:
        """Return a member's content.

        Raises
        ------
        LogError
            If it is too large, damaged, or compressed in an unknown way.
        """
        info = self._archive.getinfo(member)
        try:
            if info.compress_type == _ZSTANDARD:
                data = self._unpack(info)
            elif info.compress_type in (_STORED, _DEFLATED):
                with self._archive.open(info) as file:
                    data = file.read(MOST_BYTES + 1)
            else:
                raise LogError(f"{self.path}: {member} is compressed by the unknown method {info.compress_type}")
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError, struct.error) as error:
            if isinstance(error, LogError):
                raise
            raise LogError(f"{self.path}: {member} is damaged: {error!s:.200}") from error
        if len(data) > MOST_BYTES:
            raise LogError(f"{self.path}: {member} has more than {MOST_BYTES:,} bytes")
        return data

    def samples(self) -> Iterator[LoggedSample | LogFault]:
        """Yield the samples in the order of `expected`, and a fault for each that is missing or misplaced."""
        for name in self.expected:
            if name.member not in self._there:
                if self.status == "success":
                    yield LogFault(str(name), "the header lists it, but its file is missing")
                continue
            sample = LoggedSample(name.member, self.read(name.member))
            if sample.name != name:
                yield LogFault(str(name), f"its file {name.member!r:.100} has {sample.name}: samples were exchanged")
            else:
                yield sample

    def faults(self) -> Iterator[LogFault]:
        """Yield contradictions between the archive's list of samples, its header, its journal and its summaries."""
        announced = {name.member for name in self.expected}
        for member in self._double:
            yield LogFault(f"{member:.100}", "it is in the archive twice")
        for member in self.members:
            if member not in announced:
                yield LogFault(f"{member:.100}", "the header does not list this sample")
        names = self._archive.namelist()
        if "_journal/start.json" in names:
            start = _mapping(_mapping(self._json("_journal/start.json"), "start.json").get("eval"), "start.json: eval")
            for name in ("dataset", "model", "task", "eval_id"):
                if start.get(name) != self._spec.get(name):
                    yield LogFault("header.json", f"its eval.{name} is not that of _journal/start.json")
        if "summaries.json" in names:
            listed = self._json("summaries.json")
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                raise LogError(f"{self.path}: summaries.json must be a list of objects")
            order = [f"samples/{one.get('id')}_epoch_{one.get('epoch')}.json" for one in listed]
            if sorted(order) != sorted(self.members):
                yield LogFault("summaries.json", "it lists other samples than the archive has")
            elif order != self.members:
                yield LogFault("summaries.json", "it lists the samples in another order than the archive has them")

    @cached_property
    def leaves(self) -> list[bytes]:
        """The leaves of the log's Merkle tree: one for each sample that is there, in the order of `expected`."""
        return [
            digest("sha256", _LEAF, name.member.encode("utf-8", "surrogatepass"), b"\n", self.read(name.member))
            for name in self.expected
            if name.member in self._there
        ]

    @property
    def root(self) -> bytes | None:
        """The root of the log's Merkle tree; None if there are no samples."""
        return root_of("sha256", self.leaves) if self.leaves else None

    def path_to_root(self, index: int) -> list[bytes]:
        """Return the digests that prove that a leaf belongs to the root, lowest first (RFC 9162, section 2.1.3)."""
        return path_of("sha256", self.leaves, index)

    @cached_property
    def _there(self) -> frozenset[str]:
        return frozenset(self.members)

    def _json(self, member: str) -> Any:
        return parse(self.read(member), f"{self.path}: {member}", error=LogError, constant=float)

    def _unpack(self, info: zipfile.ZipInfo) -> bytes:
        """Return the content of a member that is compressed by Zstandard, or more than `MOST_BYTES` of it."""
        check_installed("reading an .eval log", "zstandard")
        import zstandard

        file = self._archive.fp
        assert file is not None
        file.seek(info.header_offset)
        signature, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
        if signature != b"PK\3\4":
            raise zipfile.BadZipFile("its local header is missing")
        file.seek(name + extra, io.SEEK_CUR)
        packed = file.read(min(info.compress_size, MOST_BYTES))
        data = bytearray()
        try:
            with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream:
                while len(data) <= MOST_BYTES and (part := stream.read(_PART)):
                    data += part
        except zstandard.ZstdError as error:
            raise zipfile.BadZipFile(str(error)) from error
        if len(data) <= MOST_BYTES and zlib.crc32(data) != info.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
        return bytes(data)


def message_difference(
    answer: EvalAnswer, content: str, thoughts: str, calls: Sequence[Mapping[str, Any]], finish: str
) -> str | None:
    """Return how an answer in the log differs from the text of its receipt; None if it does not."""
    given = answer.message.get("content") or ""
    for name, own, kind in (("text", content, "text"), ("reasoning", thoughts, "reasoning")):
        text = text_of(given, kind)
        if text != own:
            at = next((i for i, (a, b) in enumerate(zip(text, own, strict=False)) if a != b), min(len(text), len(own)))
            parts = f"{text[at : at + 30]!r}, {own[at : at + 30]!r}"
            return f"its {name} differs from the receipt's at character {at}: {parts}"
    logged = [(call.get("function"), call.get("arguments")) for call in answer.message.get("tool_calls") or ()]
    written = [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
    if len(logged) != len(written) or not all(map(_same_call, logged, written)):
        return f"its tool calls are {logged!r:.100}, the receipt's {written!r:.100}"
    if answer.stop_reason != STOP_REASONS.get(finish):
        return f"its stop reason is {answer.stop_reason!r:.40}, the receipt's {STOP_REASONS.get(finish)!r}"
    return None


def _same_call(logged: tuple[Any, Any], written: tuple[str, str]) -> bool:
    """Return true if a tool call in the log is the one that was written; arguments that are no JSON are empty there."""
    try:
        arguments = json.loads(written[1])
    except ValueError:
        arguments = {}
    return bool(logged[0] == written[0] and logged[1] == (arguments if isinstance(arguments, dict) else {}))


def _answers(event: Mapping[str, Any], where: str) -> Iterator[EvalAnswer]:
    """Yield the answers of a generation."""
    output = event["output"]
    _check_size([event["input"], event["tools"], event["config"]], MOST_REQUEST, f"{where}: its request")
    drawn = (output.get("metadata") or {}).get("intact") or {}
    body = request_of(
        event["model"].removeprefix(PROVIDER), event["input"], event["tools"], event["tool_choice"], event["config"]
    )
    if isinstance(seed := drawn.get("seed"), int):
        body["seed"] = seed
    body["intact"] |= {name: drawn[name] for name in ("id", "now") if isinstance(drawn.get(name), str)}
    receipts = drawn.get("receipts") or []
    for i, choice in enumerate(output["choices"]):
        document = receipts[i] if i < len(receipts) else None
        _check_size(document, canonical.MOST_BYTES, f"{where}: its receipt")
        receipt = canonical.encode(document) if isinstance(document, dict) else None
        several = f", answer {i + 1}" if len(output["choices"]) > 1 else ""
        name = body["intact"].get("id")
        yield EvalAnswer(where + several, i, body, name, choice["message"], choice.get("stop_reason", ""), receipt)


def _identity(message: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what messages of equal content share."""
    return message.get("id"), _text(message), repr(message.get("content")), repr(message.get("tool_calls"))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text")) for part in parts if isinstance(part, dict) and part.get("type") == "text")


def _check_size(value: Any, most: int, what: str) -> None:
    """Raise if a value has too many values and characters: attachments that are used many times are not copied yet."""
    left, waiting = most, [value]
    while waiting:
        one = waiting.pop()
        left -= len(one) if isinstance(one, str) else 1
        if left < 0:
            raise LogError(f"{what} has more than {most:,} characters")
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _mapping(value: Any, what: str) -> dict[str, Any]:
    """Return an object of a log; an empty one for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LogError(f"{what} must be an object, got {value!r:.60}")
    return value


def _require(value: Any, what: str, members: Mapping[str, Any]) -> None:
    if not isinstance(value, dict):
        raise LogError(f"{what} must be an object, got {value!r:.60}")
    for name, kind in members.items():
        if not isinstance(value.get(name), kind):
            raise LogError(f"{what}: {name} is {value.get(name)!r:.60}, which inspect_ai does not write")
