"""Prints 16 greedy and 16 sampled tokens of a model with their exact log-probabilities: `answer.py MODEL`."""

import json
import platform
import sys

import intact

model = intact.load(sys.argv[1], threads=2)
prompt = "The capital of France is"
answers = [
    model.generate(prompt, max_tokens=16, temperature=temperature, seed=1, logprobs=True)[0][0]
    for temperature in (0.0, 1.0)
]
print(
    json.dumps(
        {
            "machine": platform.machine(),
            "answers": [{"tokens": answer.tokens, "logprobs": answer.logprobs} for answer in answers],
        }
    )
)
