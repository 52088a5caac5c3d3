"""Encoders, and rerankers that are encoders with a head."""

from support.variants.form import TOKENS, VOCABULARY, Variant

_ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "tie_word_embeddings": True,
    "num_labels": 1,
    "id2label": {"0": "LABEL_0"},
}
_BERT = _ENCODER | {
    "model_type": "bert",
    "max_position_embeddings": 48,
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
}
_XLM_ROBERTA = _ENCODER | {
    "model_type": "xlm-roberta",
    "max_position_embeddings": 50,
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
ENCODERS: dict[str, Variant] = {
    "bert": Variant(_BERT | {"architectures": ["BertModel"]}),
    "bert-reranker": Variant(_BERT | {"architectures": ["BertForSequenceClassification"]}, prefix="bert."),
    "xlm-roberta": Variant(_XLM_ROBERTA | {"architectures": ["XLMRobertaModel"]}, "F16"),
    "xlm-roberta-reranker": Variant(
        _XLM_ROBERTA | {"architectures": ["XLMRobertaForSequenceClassification"]}, prefix="roberta."
    ),
}
CLS, SEP = 0, 2
PAIR = (CLS, *(t for t in TOKENS[:17] if t > 2), SEP, *(t for t in TOKENS[17:] if t > 2), SEP)
"""A text of two, as a reranker reads them."""
