"""Receipts made of nothing but values: no model answers for them."""

import math
from typing import Any

from intact.engine.sampling.parameters import SamplingParameters
from intact.receipts.document import Header, Output, Receipt
from intact.receipts.model_digests import ModelDigests, Numerics
from intact.receipts.request import AnswerRequest
from intact.receipts.source import PromptSource

CHAT = '{"messages":[{"role":"user","content":"Why? \\"é\\" 😀"}],"scale":1.5}'


def rich_receipt(**changes: Any) -> Receipt:
    """One that uses every member."""
    parameters = SamplingParameters(
        max_tokens=64,
        temperature=0.7,
        top_p=0.95,
        top_k=40,
        seed=(1 << 64) - 1,
        stop=("\n\n", "é\u2028"),
        logit_bias={7: -math.inf, 3: -1.25, 11: 100},
        repetition_penalty=1.1,
        presence_penalty=-0.000001,
        json_schema={"type": "object", "properties": {"b": {}, "a": {}}},
    )
    model = ModelDigests(bytes(range(32)), 272, b"t" * 32, b"c" * 32, (0, 2), "A model")
    request = AnswerRequest(
        (1, 2, 49151), parameters, ("problem-12", 3), "llguidance 1.3.0", PromptSource("chat", CHAT, None)
    )
    output = Output((5, 6, 2), "stop", 'He said "no"\t\\ {[,😀', (-1, 0, -(1 << 40)))
    fields: dict[str, Any] = {"model": model, "numerics": Numerics("1", "int8", 8), "request": request}
    header = Header(**{**fields, **{name: changes.pop(name) for name in (*fields, "hash") if name in changes}})
    return Receipt(**{"header": header, "output": output, "chain": bytes(range(96)), **changes})


def plain_receipt() -> Receipt:
    """One that leaves out whatever can be left out."""
    model = ModelDigests(bytes(32), 1, bytes(32), None, (), None)
    request = AnswerRequest((0,), SamplingParameters(), ("0123456789abcdef", 0))
    return Receipt(Header(model, Numerics("1", "fp32", 4), request), Output((0,), "length", ""), bytes(32))
