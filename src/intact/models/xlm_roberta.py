"""XLM-RoBERTa: BERT without token types; positions start after the padding token's id (arXiv 1911.02116)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from intact.models.bert import Bert


class XlmRoberta(Bert):
    """GGUF files are BERT's with another tokenizer; RoBERTa folders have the same form."""

    name = "xlm-roberta"
    hf: ClassVar[tuple[str, ...]] = (
        "XLMRobertaModel",
        "XLMRobertaForSequenceClassification",
        "RobertaModel",
        "RobertaForSequenceClassification",
    )
    hf_defaults: ClassVar[Mapping[str, Any]] = {**Bert.hf_defaults, "pad_token_id": 1}
    types_mark_pairs = False
    pads_positions = True
