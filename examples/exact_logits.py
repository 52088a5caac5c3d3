"""Logits and log-probabilities as exact integers: equal everywhere, so they can be compared, kept and hashed.

python examples/exact_logits.py [MODEL]
"""

import hashlib
import sys

import numpy as np

import intact

model = intact.load(*sys.argv[1:2])
text = "Two and two are four."
logits, scale = model.logits(text, raw=True)  # int32, tokens by vocabulary; a logit is its integer / scale
print("logits  ", logits.shape, "times", scale, hashlib.sha256(logits.tobytes()).hexdigest()[:16])

scores = model.logprobs(text)  # of each token but the first, in nats times 2^24
perplexity = np.exp(-scores.sum() / (len(scores) << 24))
print("text    ", scores.sum(), f"= perplexity {perplexity:.3f}")

again = intact.load(*sys.argv[1:2], threads=1, chunk=2)  # another number of threads, the prompt in pieces of two tokens
assert np.array_equal(again.logits(text, raw=True)[0], logits)
