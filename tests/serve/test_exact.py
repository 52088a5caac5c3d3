"""An answer's bytes are a function of its request: alone or among strangers, cold or warm, after a restart."""

import asyncio
import json
import random
import re

import httpx
import pytest

from intact.serve.models import Loading
from support.patience import PATIENCE
from support.serving import running

STRANGERS = 200


def stable(body: bytes) -> bytes:
    """An answer without identifiers and time."""
    body = re.sub(rb'"(id|created)":("[^"]*"|\d+)', b"", body)
    return re.sub(rb"call_[0-9a-f]+", b"", body)


def requests_of(n: int) -> list[tuple[str, dict]]:
    """Requests of all kinds."""
    draw, made = random.Random(7), []
    for i in range(n):
        body = {
            "model": "tiny",
            "max_tokens": draw.randint(1, 30),
            "seed": i,
            "temperature": draw.choice([0, 0.7, 1.3]),
        }
        body |= {"n": draw.choice([1, 1, 1, 3]), "stream": i % 2 == 0}
        if draw.random() < 0.3:
            made.append(("/v1/completions", body | {"prompt": f"story {i % 9}", "logprobs": i % 3, "echo": i % 2 == 1}))
            continue
        body["messages"] = [{"role": "user", "content": f"Question {i % 11} " + "and so on " * draw.randint(0, 20)}]
        if draw.random() < 0.2:
            body |= {"logprobs": True, "top_logprobs": 2}
        if draw.random() < 0.1:
            body |= {"n": 1, "intact": {"method": "best_of_n", "n": 3, "answer": "text"}, "logprobs": None}
            body.pop("top_logprobs", None)
        made.append(("/v1/chat/completions", body))
    return made


async def together(url: str, asked: list[tuple[str, dict]]) -> list[bytes]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
        answers = await asyncio.gather(*[client.post(path, json=body) for path, body in asked])
    assert all(answer.status_code == 200 for answer in answers), [a.text for a in answers if a.status_code != 200][:3]
    return [answer.content for answer in answers]


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_bytes_depend_on_the_request_alone(tiny_path, threads):
    asked = requests_of(12)
    with running({"tiny": tiny_path}) as server:
        alone = [asyncio.run(together(server.url, [one]))[0] for one in asked]
        warm = [asyncio.run(together(server.url, [one]))[0] for one in asked]
        strangers = requests_of(STRANGERS)[len(asked) :]
        crowd = asyncio.run(together(server.url, strangers + asked))[len(strangers) :]
        server.settle(server.idle)
    small = Loading(threads=threads, cache_bytes=150_000)  # another machine, as it were: hardly any memory
    with running({"tiny": tiny_path}, small) as server:
        again = asyncio.run(together(server.url, asked))
        assert server.service.models.served["tiny"].loaded.engine.index.evictions
        server.settle(server.idle)
    with running({"tiny": tiny_path}, Loading(threads=1, draft_model=tiny_path)) as server:
        guessed = asyncio.run(together(server.url, asked))
        members = server.service.models.served["tiny"].loaded.engine.drafting.drafter.members
        assert members[-1].steps > 0
        server.settle(server.idle)
    with running({"tiny": tiny_path}, Loading(threads=1, drafter="off")) as server:
        plain = asyncio.run(together(server.url, asked))
        assert server.service.models.served["tiny"].loaded.engine.drafting is None
        server.settle(server.idle)
    for i, first in enumerate(alone):
        for other in (warm[i], crowd[i], again[i], guessed[i], plain[i]):
            assert stable(other) == stable(first), asked[i]


def test_a_stream_is_the_whole_in_pieces(tiny_path):
    with running({"tiny": tiny_path}) as server:
        for path, body in requests_of(16):
            ((whole,), (streamed,)) = (
                asyncio.run(together(server.url, [(path, body | {"stream": stream})])) for stream in (False, True)
            )
            texts: dict[int, str] = {}
            for line in streamed.decode().splitlines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        piece = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
                        texts[choice["index"]] = texts.get(choice["index"], "") + piece
            told = [
                choice.get("text", choice.get("message", {}).get("content")) for choice in json.loads(whole)["choices"]
            ]
            assert [texts[index] for index in range(len(told))] == told
