"""The load of agent_load.py: clients that request random texts from a server, one after the other, until stopped."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import httpx

SENTENCE = "why does the old lamp in our hall hum at night when nobody has switched it on since last winter"
OPENINGS = ("You are the support desk of a shop.", "You are a poet.", "")
"""System messages; they include the agent's own, so that strangers share pages of its prompt."""


def request_of(draw: random.Random) -> dict[str, object]:
    """Draw a request: mostly short prompts and texts, occasionally a long prompt."""
    length = draw.randrange(60, 240) if draw.random() < 1 / 20 else draw.randrange(1, 13)
    opening, question = draw.choice(OPENINGS), " ".join(draw.choices(SENTENCE.split(), k=length)) + "?"
    messages = [{"role": "system", "content": opening}] if opening else []
    return {
        "model": "intact",
        "messages": [*messages, {"role": "user", "content": question}],
        "max_tokens": draw.randrange(1, 25),
        "temperature": draw.choice((0, 0.7, 1.0, 1.5)),
        "top_p": draw.choice((0.5, 0.9, 1.0)),
        "seed": draw.randrange(1000),
        "stream": draw.random() < 0.5,
    }


async def ask_on(url: str, draw: random.Random, counts: Counter[str]) -> None:
    """Send requests until cancelled, with pauses of up to four seconds; abandon one in eight before its answer."""
    async with httpx.AsyncClient(base_url=url, timeout=None) as client:
        while True:
            body, patience = request_of(draw), 3 * draw.random() if draw.random() < 1 / 8 else None
            try:
                async with asyncio.timeout(patience):
                    reply = await client.post("/v1/chat/completions", json=body)
                    await reply.aread()
                counts["answered" if reply.is_success else f"status {reply.status_code}"] += 1
            except TimeoutError:
                counts["left"] += 1
            except httpx.HTTPError as error:
                counts[type(error).__name__] += 1
            await asyncio.sleep(4 * draw.random())
