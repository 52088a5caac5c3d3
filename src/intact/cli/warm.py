"""Models in memory in the same user's server: matched by version and digests, used over its Unix socket.

The command resolves seed and sampling itself, and gets the same bits as from a model that it loads itself. If the
server goes away, even during an answer, the command loads the model and regenerates the same tokens.
"""

from __future__ import annotations

import http.client
import json
import socket
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import intact
from intact._base.errors import IntactError, ParameterError
from intact.checkpoints.catalogue.measured import known_digests
from intact.cli.output import note
from intact.engine.sampling.parameters import SamplingParameters
from intact.serve import same_user
from intact.text import ChatPrompt
from intact.text.template import current

_MOST = 1 << 20
"""Maximum size of a server's description in bytes."""


class WarmChunk(NamedTuple):
    """A token of a stream; mirrors `intact.library.Chunk`."""

    text: str
    token: int
    logprob: int
    receipt: Any = None
    finish: str | None = None


@dataclass(frozen=True)
class WarmCompletion:
    """A whole completion; mirrors `intact.library.Completion`."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...] | None
    finish: str
    prompt_tokens: int
    stop: str | None = None
    receipt: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class WarmDefaults:
    """Sampling settings recommended by a model's files; mirrors `SamplingDefaults`."""

    source: str
    values: tuple[tuple[str, float], ...]


class WarmTokenizer:
    """The part of a tokenizer that commands use: whether a chat template exists, and the bytes of received tokens."""

    def __init__(self, has_template: bool) -> None:
        self.chat_template = "in the server" if has_template else None
        self.size = 0
        self._bytes: dict[int, bytes] = {}

    def learn(self, token: int, spelling: bytes) -> None:
        """Remember the bytes of a token."""
        self._bytes[token] = spelling
        self.size = max(self.size, token + 1)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a received token."""
        return self._bytes[token]


class _GoneError(Exception):
    """The server cannot be reached, has been replaced by another one, or stopped while answering."""


class WarmModel:
    """A model in a server's memory, with the part of the `intact.Model` interface that `run` and `chat` use.

    Parameters
    ----------
    path : Path
        The server's socket.
    profile : str
        The arithmetic profile.
    described : mapping
        The server's description of the model.
    load : callable
        Loads the model in this process if the server goes away.
    """

    def __init__(self, path: Path, profile: str, described: Mapping[str, Any], load: Callable[[], Any]) -> None:
        self._path, self._profile, self._load = path, profile, load
        self.digests: dict[str, Any] = described["digests"]
        self.context: int = described["context"]
        self.tokenizer = WarmTokenizer(described["has_template"])
        defaults = described["sampling_defaults"]
        self.sampling_defaults = WarmDefaults(defaults["source"], tuple(map(tuple, defaults["values"])))
        self._local: Any = None

    def generate(self, prompt: str | ChatPrompt, n: int = 1, **options: Any) -> list[list[Any]]:
        """Continue a prompt n times, like `intact.Model.generate` with a single prompt."""
        if self._local is None:
            try:
                lines = list(self._lines(prompt, n, chunks=False, **options))
                found = {line["sample"]: _completion(line["completion"]) for line in lines}
                if len(found) == n:
                    return [[found[sample] for sample in range(n)]]
            except _GoneError:
                pass
            self._load_here()
        found_here: list[list[Any]] = self._local.generate(prompt, n, **options)
        return found_here

    def stream(self, prompt: str | ChatPrompt, **options: Any) -> Iterator[Any]:
        """Continue a prompt token by token, like `intact.Model.stream`."""
        came: list[int] = []
        if self._local is None:
            try:
                for line in self._lines(prompt, 1, chunks=True, **options):
                    if "completion" in line:
                        return
                    came.append(line["token"])
                    yield self._chunk(line)
            except _GoneError:
                pass
            self._load_here()
        for index, chunk in enumerate(self._local.stream(prompt, **options)):
            if index >= len(came):
                yield chunk
            elif chunk.token != came[index]:
                raise IntactError(
                    f"the server's token {index} was {came[index]}, but the model here gives {chunk.token}"
                )

    def chat_stream(
        self, messages: Sequence[Mapping[str, Any]], *, now: datetime | None = None, **options: Any
    ) -> Iterator[Any]:
        """Answer a conversation token by token, like `intact.Model.chat_stream`."""
        return self.stream(ChatPrompt(list(messages), now=now or current()), **options)

    def _lines(
        self,
        prompt: str | ChatPrompt,
        n: int,
        *,
        chunks: bool,
        logprobs: bool = False,
        receipt: bool = False,
        draft: bool = True,
        **sampling: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield the lines of the server's response."""
        request = {
            "version": intact.__version__,
            "digests": self.digests,
            "profile": self._profile,
            "sampling": SamplingParameters.by_name(sampling).to_json(),
            "n": n,
            "logprobs": logprobs,
            "receipt": receipt,
            "draft": draft,
            "chunks": chunks,
        }
        if isinstance(prompt, ChatPrompt):
            request |= {
                "messages": list(prompt.messages),
                "now": prompt.now.isoformat(),
                "control_tokens": prompt.control_tokens,
            }
        else:
            request["prompt"] = prompt
        with closing(_connection(self._path)) as connection:
            try:
                connection.request("POST", "/v1/same-user/texts", json.dumps(request), _JSON)
                response = connection.getresponse()
                if response.status == 400:
                    raise ParameterError(json.loads(response.read())["error"]["message"])
                if response.status != 200:
                    raise _GoneError
                for text in response:
                    line: dict[str, Any] = json.loads(text)
                    if "sample" not in line:
                        raise _GoneError
                    yield line
            except IntactError:
                raise
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
                raise _GoneError from error

    def _chunk(self, line: Mapping[str, Any]) -> WarmChunk:
        self.tokenizer.learn(line["token"], b64decode(line["bytes"]))
        return WarmChunk(
            line["text"], line["token"], line["logprob"], _receipt(line.get("receipt")), finish=line["finish"]
        )

    def _load_here(self) -> None:
        note("the server went away: loading the model here")
        self._local = self._load()
        self.tokenizer = self._local.tokenizer


def find_warm(path: Path, profile: str, load: Callable[[], Any]) -> tuple[WarmModel | None, str]:
    """Return a model in the memory of this user's server, or None, and a remark on which was chosen and why."""
    if not (servers := same_user.sockets()):
        return None, "no server of this user is running: the model is loaded here"
    digests = known_digests(path)
    if digests is None:
        return None, "no server has had this model in memory: it is loaded here"
    for server in servers:
        described = _describe(server)
        if described is None or described.get("version") != intact.__version__:
            continue
        for model in described.get("models", ()):
            if (model.get("digests"), model.get("profile")) == (digests, profile):
                return WarmModel(server, profile, model, load), f"answered by the server at {server}"
    return None, "no server of this user and this version has the model in memory: it is loaded here"


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a server's Unix socket."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connection


_JSON = {"content-type": "application/json"}


def _connection(path: Path) -> _UnixConnection:
    connection = same_user.connect(path)
    if connection is None:
        raise _GoneError
    connection.settimeout(None)  # an answer may be queued behind others
    return _UnixConnection(connection)


def _describe(path: Path) -> dict[str, Any] | None:
    """Return a server's description of itself; None if it is gone or does not answer in time."""
    connection = same_user.connect(path)
    if connection is None:
        return None
    with closing(_UnixConnection(connection)) as there:
        try:
            there.request("GET", "/v1/same-user")
            value = json.loads(there.getresponse().read(_MOST))
        except (OSError, http.client.HTTPException, ValueError):
            return None
    return value if isinstance(value, dict) else None


def _completion(value: Mapping[str, Any]) -> WarmCompletion:
    logprobs = value["logprobs"]
    return WarmCompletion(
        value["text"],
        tuple(value["tokens"]),
        None if logprobs is None else tuple(logprobs),
        value["finish"],
        prompt_tokens=value["prompt_tokens"],
        stop=value["stop"],
        receipt=_receipt(value["receipt"]),
    )


def _receipt(document: Any) -> Any:
    if document is None:
        return None
    from intact.receipts import canonical
    from intact.receipts.document import Receipt

    return Receipt.parse(canonical.encode(document))
