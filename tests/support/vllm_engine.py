"""vLLM's native sampler in PyTorch, as its documentation and public code have it, and what its interfaces write down.

vLLM itself needs a GPU or a build for the CPU. What is here does its steps in its order on a CPU: one generator for a
request, `manual_seed(seed + index)`; logits over the temperature; min_p, top_k, top_p as masks; softmax in 32 bits; row
by row exponential noise; the largest quotient.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from intact.library import Model
from intact.text import Tokenizer


def masked(logits: torch.Tensor, temperature: float, top_p: float, top_k: int, min_p: float) -> torch.Tensor:
    """Logits of rows after temperature, min_p, top_k and top_p, -inf where truncated."""
    logits = logits.float() / temperature
    if min_p:
        p = logits.softmax(dim=-1)
        logits = logits.masked_fill(p < min_p * p.amax(dim=-1, keepdim=True), -torch.inf)
    ascending, order = logits.sort(dim=-1)
    if top_k > 0:
        ascending = ascending.masked_fill(ascending < ascending[:, -top_k, None], -torch.inf)
    if top_p < 1:
        dropped = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
        dropped[:, -1] = False
        ascending = ascending.masked_fill(dropped, -torch.inf)
    return torch.empty_like(ascending).scatter_(-1, order, ascending)


def draw(logits: torch.Tensor, generators: Sequence[torch.Generator]) -> list[int]:
    """One token of each row, (rows, vocabulary)."""
    p = logits.softmax(dim=-1, dtype=torch.float32)
    noise = torch.empty_like(p)
    noise.exponential_()
    for row, generator in enumerate(generators):
        noise[row].exponential_(generator=generator)
    tokens: list[int] = (p / noise).argmax(dim=-1).tolist()
    return tokens


def answer(
    model: Model, prompt: Sequence[int], count: int, n: int, noise: float = 0.0, **settings: Any
) -> list[list[int]]:
    """`n` answers to a prompt, drawn in one batch; logits differ from the model's by normal noise."""
    seed = settings.pop("seed")
    generators = [torch.Generator().manual_seed(seed + index) for index in range(n)]
    disturbance = torch.Generator().manual_seed(len(prompt))
    texts: list[list[int]] = [[] for _ in range(n)]
    for _ in range(count):
        rows = torch.stack([torch.from_numpy(model.logits([*prompt, *text])[-1].copy()) for text in texts])
        rows = rows + noise * torch.randn(rows.shape, generator=disturbance)
        for text, token in zip(texts, draw(masked(rows, **settings), generators), strict=True):
            text.append(token)
    return texts


def told(model: Model, text: Sequence[int], noise: float = 0.0) -> list[float]:
    """The engine's log-probability of each token of a text but the first (`raw_logprobs`)."""
    rows = torch.from_numpy(model.logits(list(text))[:-1].copy())
    rows = rows + noise * torch.randn(rows.shape, generator=torch.Generator().manual_seed(len(text)))
    found: list[float] = rows.log_softmax(-1).gather(-1, torch.tensor(text[1:])[:, None])[:, 0].tolist()
    return found


def dicts(tokenizer: Tokenizer, tokens: Sequence[int], values: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Log-probabilities as `Logprob` objects by token id, each beside a likelier stranger's."""
    for token, value in zip(tokens, values, strict=True):
        text = tokenizer.decode([token]) if token < tokenizer.size else ""
        stranger = {"logprob": value / 2, "rank": 1, "decoded_token": "?"}
        yield {
            str((token + 1) % tokenizer.size): stranger,
            str(token): {"logprob": value, "rank": 2, "decoded_token": text},
        }


def request_output(
    model: Model, prompt: Sequence[int], texts: Sequence[Sequence[int]], settings: Mapping[str, Any], noise: float = 0.0
) -> dict[str, Any]:
    """A `RequestOutput` of `LLM.generate` with its `SamplingParams`, as `dataclasses.asdict` has it."""
    outputs = []
    for index, text in enumerate(texts):
        values = told(model, [*prompt, *text], noise)[len(prompt) - 1 :]
        outputs.append(
            {
                "index": index,
                "text": model.tokenizer.decode(list(text), continuation=True),
                "token_ids": list(text),
                "cumulative_logprob": sum(values),
                "logprobs": list(dicts(model.tokenizer, text, values)),
                "finish_reason": "length",
                "stop_reason": None,
            }
        )
    given = {"n": len(texts), "presence_penalty": 0.0, "min_tokens": 0, "logprobs": 1, "prompt_logprobs": 1, **settings}
    return {
        "request_id": "0",
        "prompt": None,
        "prompt_token_ids": list(prompt),
        "prompt_logprobs": [None, *dicts(model.tokenizer, prompt[1:], told(model, prompt, noise))],
        "outputs": outputs,
        "finished": True,
        "sampling_params": given,
    }
