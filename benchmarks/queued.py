"""Queue thousands of requests under a hard cap of the KV cache, and check that each gets its result as alone.

    python benchmarks/queued.py MODEL... [--requests 2000] [--cache 300MB] [--verify 200]

The requests are mixed: greedy and sampled, some with two samples and with penalties, prompts of 4 to 120 tokens, a
third of which begin alike, answers of 8 to 48 tokens. Then a random selection of them is run again, each alone, on a
model without prefix cache and drafts, and compared bit for bit.
"""

from __future__ import annotations

import asyncio
import random
import resource
import time
from typing import Any

from common import machine, parser

import intact
from intact.engine.completion import Completion
from intact.library import Model

SHARED = 64
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.8, "top_p": 0.95},
    {"temperature": 1.0, "presence_penalty": 0.5, "n": 2},
)


def size(text: str) -> int:
    """Parse a size in bytes, such as 300MB."""
    return int(float(text[:-2]) * UNITS[text[-2:].upper()])


def requests(vocabulary: int, count: int) -> list[dict[str, Any]]:
    """Return arguments of `generate`, the same every time."""
    draw = random.Random(count)

    def words(number: int) -> list[int]:
        return [draw.randrange(300, vocabulary) for _ in range(number)]

    shared = words(SHARED)
    return [
        {
            "prompts": shared * (i % 3 == 0) + words(draw.randint(4, 56)),
            "max_tokens": draw.randint(8, 48),
            "ignore_eos": True,
            "logprobs": True,
            "seed": i,
        }
        | draw.choice(KINDS)
        for i in range(count)
    ]


def answers(model: Model, asked: list[dict[str, Any]]) -> list[list[list[Completion]]]:
    """Run all requests, queued at once."""

    async def all_at_once() -> list[list[list[Completion]]]:
        return await asyncio.gather(*(model.agenerate(**fields) for fields in asked))

    return asyncio.run(all_at_once())


def resident() -> int:
    """Return the peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    p = parser(__doc__, text=False)
    p.add_argument("--requests", type=int, default=2000)
    p.add_argument("--cache", type=size, default="300MB", help="cap of the KV cache (default: 300MB)")
    p.add_argument("--verify", type=int, default=200, help="number of requests to run again, each alone (default: 200)")
    p.add_argument("--threads", type=int)
    arguments = p.parse_args()
    print(" · ".join(map(str, machine().values())))
    for path in arguments.models:
        model = intact.load(path, threads=arguments.threads, cache_bytes=arguments.cache)
        before = resident()
        asked = requests(model.tokenizer.size, arguments.requests)
        start = time.perf_counter()
        found = answers(model, asked)
        seconds = time.perf_counter() - start
        tokens = sum(len(c.tokens) for ((*samples,),) in found for c in samples)
        c, pool = model.engine.counters, model.engine.pool
        print(f"{path.name}: {len(asked):,} requests under {arguments.cache:,} bytes of cache")
        print(f"  {tokens:,} tokens in {seconds:.1f} s: {tokens / seconds:,.0f} a second; {c.steps:,} steps")
        print(f"  {c.preemptions:,} preemptions, {c.cache_hits:,} cache hits with {c.cached_tokens:,} tokens")
        grown = (resident() - before) / 1e6
        print(f"  pages of {pool.page_bytes * pool.capacity / 1e6:,.0f} MB at most; memory grew by {grown:,.0f} MB")
        plain = intact.load(path, threads=arguments.threads, prefix_cache=False, drafter="off")
        chosen = random.Random(1).sample(range(len(asked)), min(arguments.verify, len(asked)))
        wrong = [i for i in chosen if plain.generate(**asked[i]) != found[i]]
        print(f"  {len(chosen) - len(wrong)} of {len(chosen)} requests are bit-identical to their results alone")
        if wrong or model.engine.held:
            raise SystemExit(f"requests {wrong[:10]} differ, or pages are still held: {model.engine.held}")


if __name__ == "__main__":
    main()
