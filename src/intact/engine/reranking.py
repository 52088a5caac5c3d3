"""Reranking: orders documents by relevance to a query, as judged by a model that answers yes or no.

A model is asked a yes-or-no question about the query and one document; the score is the probability of "yes"
relative to that of "no" (Qwen3-Reranker, arXiv 2506.05176). Only these two logits are computed, from the head's
input, in the integer arithmetic used for drawing tokens: a score has the same bits regardless of what else runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.models.names import rows_of
from intact.models.ops import Logits
from intact.models.program import Program
from intact.numerics import fp32
from intact.numerics.activations import from_row_bytes
from intact.numerics.dequantize import dequantize
from intact.numerics.fixed import sat32
from intact.numerics.functions import sigmoid
from intact.numerics.integers import INTEGER, from_bytes, to_bytes
from intact.numerics.matmul import matmul
from intact.numerics.soft_cap import make_soft_cap, soft_cap
from intact.numerics.weight_formats import FLOAT_FORMATS
from intact.numerics.weights import BlockWeight, from_blocks, from_floats
from intact.text import Tokenizer

FRACTION: Final = 16
INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"
ANSWERS: Final = ("yes", "no")
_TEMPLATE_KEY: Final = "tokenizer.chat_template.rerank"
_QWEN3: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n"
    "<think>\n\n</think>\n\n"
)


@dataclass(frozen=True)
class Ranked:
    """A ranked document.

    Attributes
    ----------
    index : int
        Position in the input list.
    score : float
        Probability of "yes" relative to "no", from 0 to 1.
    tokens : int
        Number of tokens read: query, document and template.
    """

    index: int
    score: float
    tokens: int


def rerank_template(metadata: Mapping[str, Any]) -> str:
    """Return the checkpoint's reranking template, or Qwen3-Reranker's by default.

    Raises
    ------
    ParameterError
        If the checkpoint's template lacks a placeholder for the query or the document.
    """
    template = metadata.get(_TEMPLATE_KEY)
    if template is None:
        return _QWEN3
    if not isinstance(template, str) or not all(place in template for place in ("{query}", "{document}")):
        raise ParameterError(f"{_TEMPLATE_KEY} must be a string with {{query}} and {{document}}, got {template!r:.60}")
    return template


def rerank_prompt(tokenizer: Tokenizer, template: str, texts: Mapping[str, str], most: int) -> list[int]:
    """Return the tokens of a filled template; control tokens are recognised in the template, not in the inputs."""
    tokens: list[int] = []
    rest = template
    while places := {at: name for name in texts if (at := rest.find("{" + name + "}")) >= 0}:
        at = min(places)
        name = places[at]
        tokens += tokenizer.encode(rest[:at], bos=False)
        tokens += tokenizer.encode(texts[name], special=False, bos=False, most=most)
        rest = rest[at + len(name) + 2 :]
    return tokens + tokenizer.encode(rest, bos=False)


def answer_tokens(tokenizer: Tokenizer) -> tuple[int, int]:
    """Return the token ids of "yes" and "no".

    Raises
    ------
    ParameterError
        If one of them is not a single token.
    """
    found = []
    for word in ANSWERS:
        ids = tokenizer.encode(word, special=False, bos=False)
        if len(ids) != 1:
            raise ParameterError(f"the model's tokenizer has no single token for {word!r}, which reranking needs")
        found += ids
    return found[0], found[1]


class AnswerHead:
    """The rows of a model's head for two answers.

    Parameters
    ----------
    answers : pair of int
        Token ids of "yes" and "no".
    bits : {8, 4}
        Code width of matrices that the checkpoint stores as floats, as in the executor.
    """

    def __init__(self, program: Program, profile: str, answers: Sequence[int], bits: int) -> None:
        head = next(op for op in program.ops if isinstance(op, Logits))
        tensor = program.tensors[program.head_weight]
        self._cap, self._width = head.cap, program.buffers[head.source].width
        self._floats: NDArray[np.float32] | None = None
        self._weight: BlockWeight | None = None
        if profile == "fp32":
            self._floats = _rows(tensor, answers)
        elif tensor.kind == INTEGER:
            self._weight = rows_of(from_bytes(tensor.data), np.array(answers))
        elif tensor.kind in FLOAT_FORMATS:
            self._weight = from_floats(_rows(tensor, answers), bits)
        else:
            self._weight = from_blocks(tensor.kind, _bytes_of(tensor, answers), (len(answers), self._width))

    def score(self, head: bytes) -> float:
        """Return the probability of the first answer relative to the second, given the head's input."""
        if self._floats is not None:
            row = np.frombuffer(head, "<f4").astype(np.float32)
            logits = fp32.linear(row[None], self._floats)[0]
            logits = fp32.soft_cap(logits, float(self._cap)) if self._cap else logits
            return float(fp32.sigmoid(logits[:1] - logits[1:])[0])
        assert self._weight is not None
        z = sat32(matmul(from_row_bytes(np.frombuffer(head, np.uint8), self._width), self._weight, FRACTION))[0]
        z = soft_cap(z, make_soft_cap(self._cap)) if self._cap else z
        return int(sigmoid(sat32(z[0] - z[1]))) / (1 << 30)


def _bytes_of(tensor: Tensor, rows: Sequence[int]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(tensor.data.reshape(tensor.shape[0], -1)[list(rows)]).reshape(-1)


def _rows(tensor: Tensor, rows: Sequence[int]) -> NDArray[np.float32]:
    shape = (len(rows), *tensor.shape[1:])
    if tensor.kind == INTEGER:
        return dequantize(INTEGER, to_bytes(rows_of(from_bytes(tensor.data), np.array(rows))), shape)
    return dequantize(tensor.kind, _bytes_of(tensor, rows), shape)
