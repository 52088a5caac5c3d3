"""A small OpenAI-compatible server on loopback, which can be told to misbehave in every way that we can think of.

Left alone it writes by the law of `intact.reason.testing.toy`, so that methods have something to work on.
"""

import json
import math
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from intact.reason.testing.toy import END, WEIGHTS
from support.patience import PATIENCE


@dataclass
class Reply:
    """An answer as bytes.

    Attributes
    ----------
    parts
        Sent one after the other.
    delay
        Seconds before each part.
    reason
        What stands behind the status; none: what is usual.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    parts: list[bytes] = field(default_factory=list)
    delay: float = 0.0
    reason: str | None = None


@dataclass
class Endpoint:
    """What the server does, and what it was asked.

    Attributes
    ----------
    script
        Answers for the requests to come; when it is used up, the honest one.
    mute
        Whether no log-probabilities are told.
    asked
        Path, headers and body of each request.
    hold
        Requests that must be under way at once before any of those that wait for company is answered.
    now, most
        Requests under way now, and at most.
    """

    script: list[Reply] = field(default_factory=list)
    mute: bool = False
    hold: int = 0
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    now: int = 0
    most: int = 0
    url: str = ""
    lock: threading.Condition = field(default_factory=threading.Condition)

    def honest(self, path: str, body: Mapping[str, Any]) -> Iterator[bytes]:
        """Letters by the chain, each an event, then why it ended, then the usage."""
        chat = path.endswith("/chat/completions")
        text = body["messages"][-1]["content"] if chat else body["prompt"]
        draw = random.Random(f"{body['seed']} {text}")
        finish, count = "length", 0
        for _ in range(body["max_tokens"]):
            row = WEIGHTS.get(text[-1:], WEIGHTS[""])
            likeliest = max(row, key=lambda letter: row[letter])
            letter = draw.choices(list(row), list(row.values()))[0] if body["temperature"] else likeliest
            logprobs = {word: math.log(weight / sum(row.values())) for word, weight in row.items()}
            count += 1
            told = None if self.mute else _told(chat, letter, logprobs, body)
            yield event(chat, "" if letter == END else letter, told)
            text += letter
            if letter == END:
                finish = "stop"
                break
        yield event(chat, "", None, finish)
        yield usage(count, len(text))
        yield b"data: [DONE]\n\n"


def _told(chat: bool, letter: str, logprobs: Mapping[str, float], body: Mapping[str, Any]) -> dict[str, Any]:
    if chat:
        top = [{"token": word, "logprob": value} for word, value in logprobs.items()] if "top_logprobs" in body else []
        return {"content": [{"token": letter, "logprob": logprobs[letter], "top_logprobs": top}]}
    return {"tokens": [letter], "token_logprobs": [logprobs[letter]], "top_logprobs": [dict(logprobs)]}


def event(chat: bool, text: str, logprobs: Any = None, finish: str | None = None, **more: Any) -> bytes:
    """An event with a piece of text."""
    part = {"delta": {"content": text}} if chat else {"text": text}
    choice = {"index": 0, **part, "logprobs": logprobs, "finish_reason": finish, **more}
    return sent({"choices": [choice]})


def usage(completion: int, prompt: int = 5) -> bytes:
    """The event with the counts."""
    return sent({"choices": [], "usage": {"completion_tokens": completion, "prompt_tokens": prompt}})


def sent(value: Any) -> bytes:
    """A value as an event."""
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def letters(text: str, logprob: Any = -0.5) -> list[bytes]:
    """A piece of text, a letter a token."""
    return [event(False, x, {"tokens": [x], "token_logprobs": [logprob], "top_logprobs": [{x: logprob}]}) for x in text]


def answer(*parts: bytes | list[bytes], **more: Any) -> Reply:
    """An answer of events."""
    return Reply(parts=[x for part in parts for x in (part if isinstance(part, list) else [part])], **more)


@contextmanager
def serve(endpoint: Endpoint) -> Iterator[Endpoint]:
    """Serve while the block runs; ``endpoint.url`` is the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(endpoint))
    server.daemon_threads = True
    server.block_on_close = False
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                endpoint.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                endpoint.now += 1
                endpoint.most = max(endpoint.most, endpoint.now)
                endpoint.lock.notify_all()
                reply = endpoint.script.pop(0) if endpoint.script else None
            try:
                if reply is None:
                    with endpoint.lock:
                        endpoint.lock.wait_for(lambda: endpoint.most >= endpoint.hold, PATIENCE)
                    self.send(Reply(parts=list(endpoint.honest(self.path, body))))
                else:
                    self.send(reply)
            except OSError:
                pass  # the client closed the connection, as it may
            finally:
                with endpoint.lock:
                    endpoint.now -= 1

        def send(self, reply: Reply) -> None:
            self.send_response(reply.status, reply.reason)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for part in reply.parts:
                time.sleep(reply.delay)
                self.wfile.write(part)
                self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
