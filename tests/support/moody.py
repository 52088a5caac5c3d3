"""An endpoint on loopback that speaks three APIs, and whose answers can depend on what they must not."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.patience import PATIENCE


@dataclass
class Moody:
    """What the endpoint does, and what it was asked.

    Attributes
    ----------
    mood
        Returns a word that changes the answer, from the number of the request, the number of requests that came
        together, and the body.
    together
        Numbers of requests that are answered once all of them have come.
    refuse
        Fields that are refused, by name.
    statuses
        Statuses of the requests to come; when used up, 200.
    raw
        If given, the content of every answer.
    logprobs
        If false, none are listed.
    listing
        Status of the list of models.
    """

    mood: Callable[[int, int, Mapping[str, Any]], str] = lambda number, now, body: ""
    together: range = range(0)
    refuse: tuple[str, ...] = ()
    statuses: list[int] = field(default_factory=list)
    raw: bytes | None = None
    logprobs: bool = True
    listing: int = 200
    apis: tuple[str, ...] = ("openai", "ollama", "anthropic")
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    url: str = ""
    lock: threading.Condition = field(default_factory=threading.Condition)

    def words(self, number: int, now: int, body: Mapping[str, Any], choice: int) -> list[str]:
        """Return the tokens of an answer: they depend on prompt, settings, choice and mood."""
        options = body.get("options", body)
        said = [one["content"] for one in body["messages"] if one["role"] == "user"]
        choice = choice if options.get("temperature") else 0
        mood = self.mood(number, now, body)
        key = f"{said} {options.get('temperature')} {options.get('seed')} {choice}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        words = [f" {digest[4 * i : 4 * i + 4]}" for i in range(8)]
        if mood == "shift":
            return words
        return [*words[:5], f" {mood}", *words[6:]] if mood else words


def _choice(words: list[str], listed: bool, shift: float) -> dict[str, Any]:
    tokens = [
        {
            "token": w,
            "logprob": -0.5 - shift,
            "top_logprobs": [{"token": w, "logprob": -0.5 - shift}, {"token": " other", "logprob": -0.75}],
        }
        for w in words
    ]
    return {"logprobs": {"content": tokens}} if listed else {}


@contextmanager
def serve(moody: Moody) -> Iterator[Moody]:
    """Serve while the block runs; ``moody.url`` is the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(moody))
    server.daemon_threads = True
    server.block_on_close = False
    moody.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield moody
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_API = {"/v1/chat/completions": "openai", "/api/chat": "ollama", "/v1/messages": "anthropic"}


def _handler(moody: Moody) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            own = {"/v1/models": ("openai", "anthropic"), "/api/tags": ("ollama",)}.get(self.path, ())
            if moody.listing != 200 or not set(own) & set(moody.apis):
                self.reply(moody.listing if moody.listing != 200 else 404, {"error": "none"})
            elif self.path == "/api/tags":
                self.reply(200, {"models": [{"name": "moody"}]})
            else:
                self.reply(200, {"data": [{"id": "moody", "owned_by": "stub"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with moody.lock:
                moody.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                number = len(moody.asked)
                moody.lock.notify_all()
                company = moody.together if number in moody.together else range(number, number + 1)
                assert moody.lock.wait_for(lambda: len(moody.asked) >= company[-1], PATIENCE)
                status = moody.statuses.pop(0) if moody.statuses else 200
                refused = [name for name in moody.refuse if name in body]
            if refused:
                self.reply(400, {"error": {"message": f"unknown field: {refused[0]}"}})
            elif status != 200:
                self.reply(status, {"error": {"message": f"key was {self.headers.get('Authorization')}"}})
            elif moody.raw is not None:
                self.send(moody.raw, 200, "text/event-stream" if body.get("stream") else "application/json")
            else:
                self.answer(_API[self.path], number, len(company), body)

        def answer(self, api: str, number: int, now: int, body: dict[str, Any]) -> None:
            several = [moody.words(number, now, body, choice) for choice in range(body.get("n", 1))]
            mood, text = moody.mood(number, now, body), "".join(several[0])
            shift = 0.25 if mood == "shift" else 0.0
            streamed, written = bool(body.get("stream")), sum(map(len, several))
            if api == "openai":
                listed = moody.logprobs and bool(body.get("logprobs"))
                usage = {"prompt_tokens": 9, "completion_tokens": written}
                if streamed:
                    events = [
                        {"choices": [{"index": 0, "delta": {"content": word}, **_choice([word], listed, shift)}]}
                        for word in several[0]
                    ]
                    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
                    self.events([f"data: {json.dumps(one)}\n\n" for one in events] + ["data: [DONE]\n\n"])
                else:
                    choices = [
                        {"index": i, "message": {"content": "".join(words)}, "finish_reason": "stop"}
                        | _choice(words, listed, shift)
                        for i, words in enumerate(several)
                    ]
                    self.reply(200, {"choices": choices, "usage": usage})
            elif api == "ollama":
                end = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": written}
                if streamed:
                    parts = [{"message": {"content": word}} for word in several[0]]
                    self.events([json.dumps(one) + "\n" for one in [*parts, {"message": {"content": ""}} | end]])
                else:
                    self.reply(200, {"message": {"content": text}} | end)
            else:
                usage = {"input_tokens": 9, "output_tokens": written}
                if streamed:
                    parts = [{"type": "content_block_delta", "delta": {"text": word}} for word in several[0]]
                    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
                    start = {"type": "message_start", "message": {"usage": {"input_tokens": 9}}}
                    self.events([f"data: {json.dumps(one)}\n\n" for one in [start, *parts, end]])
                else:
                    block = {"type": "text", "text": text}
                    self.reply(200, {"content": [block], "stop_reason": "end_turn", "usage": usage})

        def events(self, parts: list[str]) -> None:
            self.send("".join(parts).encode(), 200, "text/event-stream")

        def reply(self, status: int, value: Any) -> None:
            self.send(json.dumps(value).encode(), status, "application/json")

        def send(self, content: bytes, status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
