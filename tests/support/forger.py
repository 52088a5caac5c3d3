"""Who lies in receipts and covers it up: every digest and the whole chain are computed anew, with a real model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.library import Model
from intact.models.ops import AllGather
from intact.receipts.document import Header, Output, Receipt, first_link, next_link
from intact.receipts.layers import LayerRun, layer_count


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


class LayerForger(LayerRun):
    """Runs all layers, and alters a row that leaves one of them; all that follows goes on truly from there."""

    def __init__(self, model: Model, layer: int, position: int, **options: Any) -> None:
        super().__init__(model, range(layer_count(model)), "sha256", **options)
        self._layer, self._position = layer, position

    def _exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        if self._reads[self._passed] == self._layer + 1 and self._position in self._positions:
            whole[self._positions.index(self._position), 0] += 1 << 20
        super()._exchange(op, own, whole)
