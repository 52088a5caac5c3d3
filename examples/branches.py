"""Grow a tree of texts: fork at each turn, keep the likeliest, drop the others: python examples/branches.py [MODEL]

Forks share all that was computed for their common text, and a dropped branch gives its pages back at once.
"""

import sys

import numpy as np

import intact
from intact.engine.request import Event, GenerateRequest
from intact.numerics.sampling import branch_key, make_sampling

WIDTH, LENGTH, ROUNDS = 4, 8, 3

model = intact.load(*sys.argv[1:2])
engine = model.engine
tokens: dict[int, list[int]] = {}
scores: dict[int, int] = {}


def sink(event: Event) -> None:
    tokens.setdefault(event.sample, []).append(event.token)
    scores[event.sample] = scores.get(event.sample, 0) + event.logprob


def key(*path: str | int) -> int:
    return branch_key(7, ("tale", *path))


prompt = np.array(model.tokenizer.encode("Once upon a time, there was a"), np.int32)
keys = [key("first", i) for i in range(WIDTH)]
request = GenerateRequest(
    prompt=prompt,
    keys=keys,
    sampling=make_sampling(1.0),
    limit=LENGTH * ROUNDS,
    sink=sink,
    ended=lambda sample, finish, error: None,
)
engine.add(request)
living = list(range(WIDTH))
for turn in range(ROUNDS):
    while engine.busy and any(len(tokens.get(i, ())) < LENGTH * (turn + 1) for i in living):
        engine.step()
    best = max(living, key=lambda i: scores[i])
    text = model.tokenizer.decode(tokens[best])
    print(f"{turn + 1}. sample {best} of {living}, {scores[best] / 2**24:.2f} nats:{text!r}")
    if turn < ROUNDS - 1:
        engine.cancel(request, [i for i in living if i != best])
        forks = engine.fork(request, best, [key(turn, i) for i in range(1, WIDTH)])
        for fork in forks:
            tokens[fork], scores[fork] = list(tokens[best]), scores[best]
        living = [best, *forks]
engine.cancel(request)
counters = engine.counters
print(f"{counters.decoded} rows decoded, {counters.shared_draws} draws shared one, {engine.held} pages still held")
