"""Who lies in receipts and covers it up: every digest and the whole chain are computed anew, with a real model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from intact.library import Model
from intact.receipts.document import Header, Output, Receipt, first_link, next_link


def states(model: Model, text: Sequence[int]) -> list[bytes]:
    """What enters the head at every position of a text."""
    found: list[bytes] = []
    with model.exclusive() as engine:
        for chunks, wanted in engine.prefill(list(text)):
            engine.executor.step(chunks, wanted)
            found += [row.tobytes() for row in engine.executor.head_inputs(np.arange(len(wanted)))]
    return found


def forge(model: Model, header: Header, output: Output) -> Receipt:
    """A receipt whose digests and chain all fit, by the states of some model."""
    prompt, tokens = header.request.prompt, output.tokens
    heads = states(model, [*prompt, *tokens])[len(prompt) - 1 :]
    link, chain = first_link(header.hash, header.digest), b""
    for token, head in zip(tokens, heads, strict=False):
        link = next_link(header.hash, link, token, head)
        chain += link
    return Receipt(header, output, chain)


def altered(header: Header, **changes: Any) -> Header:
    """A header with another request: fields of `AnswerRequest`, or of `SamplingParameters`."""
    request = header.request
    own = {name: changes.pop(name) for name in ("prompt", "branch", "source") if name in changes}
    return replace(header, request=replace(request, parameters=replace(request.parameters, **changes), **own))
