"""Show a text while it is written, each token with its probability: python examples/streaming.py [MODEL]"""

import math
import sys

import intact

model = intact.load(*sys.argv[1:2])
least, least_likely = 0, ""
for chunk in model.stream("Once upon a time", max_tokens=40, temperature=0.7, seed=1, stop=["\n\n"]):
    print(chunk.text, end="", flush=True)
    if chunk.logprob < least:
        least, least_likely = chunk.logprob, chunk.text
print(f"\nleast likely: {least_likely!r}, with probability {math.exp(least / 2**24):.4f}")
