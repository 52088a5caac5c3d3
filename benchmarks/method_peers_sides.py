"""The methods for method_peers.py: ours, and those of its_hub, optillm and TreeQuest over llama.cpp's server."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from math import exp
from typing import Any

import httpx
from openai import OpenAI

from intact.reason.methods.ab_mcts import REFINE

ROWS = ("vote of 8", "best of 4 by the model's own judgement", "mixture of 3 agents", "AB-MCTS of 8")
TEXTS, SEARCH = 4, 8
SYSTEM = "You are a helpful assistant."
Read = Callable[[str], str | None]
OURS: Mapping[str, tuple[str, Mapping[str, Any], float]] = {
    ROWS[0]: ("self_consistency", {"n": 8}, 0.7),
    ROWS[1]: ("best_of_n", {"n": TEXTS, "scorer": "p_true"}, 1.0),
    ROWS[2]: ("mixture_of_agents", {"n": 3, "layers": 2}, 1.0),
    ROWS[3]: ("ab_mcts", {"n": SEARCH}, 0.8),
}
"""The method with its parameters and temperature for each row."""


class LlamaServer:
    """llama.cpp's server, driven as its users do."""

    def __init__(self, url: str, max_tokens: int) -> None:
        self.url, self.max_tokens = url, max_tokens
        self.client = OpenAI(base_url=url + "/v1", api_key="none")
        logging.disable(logging.ERROR)  # each request, and sessions that its_hub leaves open

    def tokens(self) -> int:
        """Return the number of tokens that the server has generated."""
        text = httpx.get(self.url + "/metrics").raise_for_status().text
        found = re.search(r"^llamacpp:tokens_predicted_total (\S+)", text, re.MULTILINE)
        assert found is not None, text
        return round(float(found[1]))


def its_hub_model(server: LlamaServer, temperature: float) -> Any:
    from its_hub import OpenAICompatibleLanguageModel

    return OpenAICompatibleLanguageModel(
        server.url + "/v1", "none", "intact", max_tokens=server.max_tokens, temperature=temperature
    )


def its_hub_vote(server: LlamaServer, prompt: str, read: Read) -> str:
    from its_hub import SelfConsistency

    found = SelfConsistency(lambda text: read(text) or "").infer(its_hub_model(server, 0.7), prompt, 8)
    return str(found["content"])


def its_hub_judged(server: LlamaServer, prompt: str, read: Read) -> str:
    from its_hub import BestOfN, LLMJudge

    found = BestOfN(LLMJudge(its_hub_model(server, 0.0))).infer(its_hub_model(server, 1.0), prompt, TEXTS)
    return str(found["content"])


def optillm_judged(server: LlamaServer, prompt: str, read: Read) -> str:
    from optillm.bon import best_of_n_sampling

    options = {"max_tokens": server.max_tokens}
    return str(best_of_n_sampling(SYSTEM, prompt, server.client, "intact", TEXTS, request_config=options)[0])


def optillm_mixture(server: LlamaServer, prompt: str, read: Read) -> str:
    from optillm.moa import mixture_of_agents

    options = {"max_tokens": server.max_tokens}
    return str(mixture_of_agents(SYSTEM, prompt, server.client, "intact", request_config=options)[0])


def treequest_search(server: LlamaServer, prompt: str, read: Read) -> str:
    import treequest

    def generate(parent: tuple[str, float] | None) -> tuple[tuple[str, float], float]:
        text = prompt
        if parent is not None:
            text = REFINE.format(question=prompt, answer=parent[0], score=f"{parent[1]:.2f}")
        written = server.client.chat.completions.create(
            model="intact",
            messages=[{"role": "user", "content": text}],
            temperature=0.8,
            max_tokens=server.max_tokens,
            logprobs=True,
        )
        choice = written.choices[0]
        chances = [token.logprob for token in (choice.logprobs.content or [] if choice.logprobs else [])]
        score = exp(sum(chances) / len(chances)) if chances else 0.0
        return (choice.message.content or "", score), score

    search = treequest.ABMCTSA()
    tree = search.init_tree()
    for _ in range(SEARCH):
        tree = search.step(tree, {"answer": generate})
    ((text, _), _), *_ = treequest.top_k(tree, search, k=1)
    return text


THEIRS: Mapping[str, Mapping[str, Callable[[LlamaServer, str, Read], str]]] = {
    ROWS[0]: {"its_hub": its_hub_vote},
    ROWS[1]: {"its_hub": its_hub_judged, "optillm": optillm_judged},
    ROWS[2]: {"optillm": optillm_mixture},
    ROWS[3]: {"TreeQuest": treequest_search},
}
"""Other programs' methods by row and program; each returns the text that it chose."""
