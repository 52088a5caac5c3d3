"""The entries of a run's receipt: completions, scores, and the outcomes of programs and tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, get_args

from intact._base.errors import ReceiptError
from intact._base.strict_json import Fields, quote
from intact.engine.sampling.parameters import MOST_TOP_LOGPROBS
from intact.engine.shared_cache.request import Ending as SharedEnding
from intact.engine.shared_cache.request import SharedText
from intact.engine.shared_cache.rules import NAMES
from intact.reason.problem import Branch
from intact.reason.tool import LONGEST_OUTPUT, clean
from intact.receipts import canonical
from intact.receipts.canonical import SIZE, HashName, digest
from intact.receipts.document import FINISHES, Output, read_base64, write_base64
from intact.receipts.likeliest import PAIR
from intact.receipts.spreads import SPREAD
from intact.solving.receipts.values import bits, read_branch, read_number, write_values
from intact.tools.sandbox.outcome import Ending

FARTHEST: Final = 1 << 31
"""Limit on the magnitude of a program's exit status, and on token ids."""
_MOST: Final = 1 << 62
_SHARED: Final = tuple([one.name for one in fields(SharedText)])


@dataclass(frozen=True)
class TextEntry:
    """A completion: an ordinary receipt, without the parts that a replay of the method reproduces.

    Attributes
    ----------
    branch : tuple
        The completion's place in the tree.
    header : bytes
        The digest of the ordinary receipt's header, which seeds the chain.
    output : Output
        The output with log-probabilities, and with the likeliest tokens and spreads if the method requested them; the
        output of a loser of a race ends with 'cancelled'.
    state : bytes or None
        The input of the head before the last token, if requested by the method.
    """

    branch: Branch
    header: bytes
    output: Output
    chain: bytes = field(repr=False)
    state: bytes | None = field(default=None, repr=False)

    @property
    def written(self) -> str:
        """The completion's text."""
        return self.output.text

    @property
    def count(self) -> int:
        """The number of its tokens."""
        return len(self.output.tokens)

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        output = self.output.to_document()
        output["top"] = None if self.output.top is None else write_base64(self.output.top)
        if self.output.spread is not None:
            output["spread"] = write_base64(self.output.spread)
        return {
            "kind": "text",
            "branch": list(self.branch),
            "header": self.header.hex(),
            "output": output,
            "chain": write_base64(self.chain),
            "state": None if self.state is None else write_base64(self.state),
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> TextEntry:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("kind", "branch", "header", "output", "chain", "state"))
        output = _output(fields.values["output"], f"{where}.output")
        chain = read_base64(fields, "chain")
        if len(chain) != SIZE * len(output.tokens):
            fields.fail("chain", f"{SIZE} bytes for each of {len(output.tokens)} tokens")
        state = fields.maybe("state", lambda name: read_base64(fields, name))
        return cls(read_branch(fields, "branch"), fields.digest("header"), output, chain, state=state)


def _output(value: Any, where: str) -> Output:
    fields = Fields(value, where, ("tokens", "finish", "text", "logprobs", "top"), ("spread",))
    shared = {name: part for name, part in fields.values.items() if name not in ("top", "spread")}
    output = Output.from_document(shared, (*FINISHES, "cancelled"))
    if output.logprobs is None:
        raise ReceiptError(f"{where}.logprobs must be a list: scores are computed from them")
    places = len(output.tokens)
    if "spread" in fields.values:
        spread = read_base64(fields, "spread")
        if len(spread) != SPREAD * places:
            fields.fail("spread", f"{SPREAD} bytes for each of {places} tokens")
        output = replace(output, spread=spread)
    if fields.values["top"] is None:
        return output
    top = read_base64(fields, "top")
    each, rest = divmod(len(top), PAIR * places)
    if rest or not 1 <= each <= MOST_TOP_LOGPROBS:
        fields.fail("top", f"{PAIR} bytes for each of 1 to {MOST_TOP_LOGPROBS} tokens at each of {places} places")
    return replace(output, top=top)


@dataclass(frozen=True)
class ScoreEntry:
    """A scorer's scores for completions, which are given by their branches, in the form used in traces."""

    scorer: str
    texts: tuple[str, ...]
    scores: tuple[float, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {
            "kind": "score",
            "scorer": self.scorer,
            "texts": list(self.texts),
            "scores": [bits(score) for score in self.scores],
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> ScoreEntry:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("kind", "scorer", "texts", "scores"))
        texts, scores = fields.values["texts"], fields.values["scores"]
        if not isinstance(texts, list) or not isinstance(scores, list) or len(texts) != len(scores):
            fields.fail("scores", "a list with a number for each of the texts")
        if not all(isinstance(text, str) for text in texts):
            fields.fail("texts", "a list of places in the tree, each a text")
        numbers = [read_number(score, f"{where}.scores") for score in scores]
        return cls(fields.text("scorer"), tuple(texts), tuple(numbers))


@dataclass(frozen=True)
class RunEntry:
    """The outcome of a program in the sandbox.

    Attributes
    ----------
    program : bytes
        The program's digest (`program_digest`); a replay of the method reproduces the program itself.
    stdout, status, ended
        As in the sandbox's `Outcome`.
    """

    program: bytes
    stdout: str
    status: int
    ended: Ending

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {
            "kind": "run",
            "program": self.program.hex(),
            "stdout": self.stdout,
            "status": self.status,
            "ended": self.ended,
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> RunEntry:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("kind", "program", "stdout", "status", "ended"))
        endings: tuple[Ending, ...] = get_args(Ending)
        return cls(
            fields.digest("program"),
            fields.text("stdout"),
            fields.integer("status", -FARTHEST, FARTHEST),
            fields.choice("ended", endings),
        )


def program_digest(name: HashName, code: str, stdin: str | None, seconds: float) -> bytes:
    """Return the digest of a program, its standard input and its wall-clock limit."""
    return digest(name, canonical.encode({"code": code, "seconds": bits(seconds), "stdin": stdin}))


@dataclass(frozen=True)
class ToolEntry:
    """The result of a tool.

    Attributes
    ----------
    tool : str
        The tool's name.
    version : bytes
        The content address of the tool at the time of the call.
    call : bytes
        The digest of the call (`call_digest`); a replay of the method reproduces the call itself.
    text, ended
        As in `ToolResult`.
    replayable : bool
        If true, a verifier calls the tool again; otherwise the result is only recorded and cannot be checked.
    """

    tool: str
    version: bytes
    call: bytes
    text: str
    ended: Ending
    replayable: bool

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {
            "kind": "tool",
            "tool": self.tool,
            "version": self.version.hex(),
            "call": self.call.hex(),
            "text": self.text,
            "ended": self.ended,
            "replayable": self.replayable,
        }

    @classmethod
    def from_document(cls, value: Any, where: str) -> ToolEntry:
        """Parse the result of `to_document`."""
        fields = Fields(value, where, ("kind", "tool", "version", "call", "text", "ended", "replayable"))
        endings: tuple[Ending, ...] = get_args(Ending)
        entry = cls(
            fields.text("tool"),
            fields.digest("version"),
            fields.digest("call"),
            fields.text("text"),
            ended=fields.choice("ended", endings),
            replayable=fields.flag("replayable"),
        )
        if entry.text != clean(entry.text):
            fields.fail("text", f"at most {LONGEST_OUTPUT:,} characters, none of them control characters")
        return entry


@dataclass(frozen=True)
class SharedEntry:
    """A completion that workers generated together with a shared cache.

    Attributes
    ----------
    branch : tuple
        The completion's place in the tree.
    request : bytes
        The digest of the request (`shared_digest`); a replay of the method reproduces the request itself.
    text : SharedText
        The generated text.
    """

    branch: Branch
    request: bytes
    text: SharedText

    @property
    def written(self) -> str:
        """The text that the last worker to write saw and continued."""
        return self.text.text

    @property
    def count(self) -> int:
        """The number of tokens that workers sampled."""
        return self.text.drawn

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        own = {"kind": "shared", "branch": list(self.branch), "request": self.request.hex()}
        return own | self.text.to_document()

    @classmethod
    def from_document(cls, value: Any, where: str) -> SharedEntry:
        """Parse the result of `to_document`."""
        members = Fields(value, where, ("kind", "branch", "request", *_SHARED))
        steps, conclusion = members.values["steps"], members.values["conclusion"]
        lists = [
            conclusion,
            *([part for step in steps for part in _parts(step)] if isinstance(steps, list) else [None]),
        ]
        if not all(
            isinstance(part, list) and all(type(n) is int and 0 <= n < FARTHEST for n in part) for part in lists
        ):
            members.fail(
                "steps", f"a list of worker, number, round and tokens, from 0 to {FARTHEST - 1}, as in the conclusion"
            )
        read: dict[str, Any] = {name: members.integer(name, 0, _MOST) for name in ("rounds", "read", "operations")}
        read["by"] = members.maybe("by", lambda name: members.integer(name, 0, len(NAMES) - 1))
        text = {"text": members.text("text"), "ended": members.choice("ended", get_args(SharedEnding))}
        document = {"steps": steps, "conclusion": conclusion, **read, **text}
        return cls(read_branch(members, "branch"), members.digest("request"), SharedText.from_document(document))


def _parts(step: Any) -> list[Any]:
    """Return a step's numbers and its tokens; both are lists if the step is valid."""
    return [step[:3], step[3]] if isinstance(step, list) and len(step) == 4 else [None]


def shared_digest(name: HashName, request: Mapping[str, Any]) -> bytes:
    """Return the digest of a request for a completion by workers, given as a JSON object."""
    return digest(name, canonical.encode(request))


def call_digest(name: HashName, tool: str, values: Mapping[str, Any], place: str = "") -> bytes:
    """Return the digest of a tool call; `place` is empty unless the result cannot be reproduced."""
    return digest(name, canonical.encode({"place": place, "tool": tool, "values": write_values(values)}))


Entry = TextEntry | ScoreEntry | SharedEntry | RunEntry | ToolEntry
_KINDS: Final[Mapping[str, type[Entry]]] = {
    "text": TextEntry,
    "score": ScoreEntry,
    "shared": SharedEntry,
    "run": RunEntry,
    "tool": ToolEntry,
}


def read_entry(value: Any, where: str) -> Entry:
    """Parse an entry of any kind."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        *others, last = _KINDS
        raise ReceiptError(f"{where} must be an object of kind {', '.join(others)} or {last}, got {quote(value)}")
    return _KINDS[kind].from_document(value, where)
