"""A sample of a log of inspect_ai: its generations, the answers in them, and contradictions between its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from intact._base.errors import LogError, ParameterError
from intact._base.strict_json import parse
from intact.evaluate.model_judge import Rubric
from intact.integrations.inspect_answers import PROVIDER, EvalAnswer, answers_of
from intact.integrations.inspect_request import text_of

MOST_FILLED: Final = 1 << 31
"""Maximum number of values and characters of a sample, with its attachments wherever they are used."""
_ATTACHMENT: Final = "attachment://"


class LogFault(NamedTuple):
    """A way in which a log contradicts itself.

    Attributes
    ----------
    where : str
        The file's member or the sample.
    """

    where: str
    detail: str


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
        require_members(value, member, {"id": int | str, "epoch": int, "events": list, "messages": list})
        self.name = SampleName(value["id"], value["epoch"])
        self.uuid = value.get("uuid")
        self._member = member
        self._attachments = mapping_of(value.get("attachments"), f"{member}: attachments")
        self._pool = mapping_of(value.get("events_data"), f"{member}: events_data").get("messages", [])
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
                    yield from answers_of(event, where)
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
        scores = self._filled(mapping_of(self._value.get("scores"), "scores"))
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


def _identity(message: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what messages of equal content share."""
    return message.get("id"), _text(message), repr(message.get("content")), repr(message.get("tool_calls"))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text")) for part in parts if isinstance(part, dict) and part.get("type") == "text")


def mapping_of(value: Any, what: str) -> dict[str, Any]:
    """Return an object of a log; an empty one for null."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LogError(f"{what} must be an object, got {value!r:.60}")
    return value


def require_members(value: Any, what: str, members: Mapping[str, Any]) -> None:
    """Raise unless a value is an object whose members have these types."""
    if not isinstance(value, dict):
        raise LogError(f"{what} must be an object, got {value!r:.60}")
    for name, kind in members.items():
        if not isinstance(value.get(name), kind):
            raise LogError(f"{what}: {name} is {value.get(name)!r:.60}, which inspect_ai does not write")
