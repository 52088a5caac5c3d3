"""Small vocabularies, made on the spot."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from intact.text.vocabulary import TokenType, byte_alphabet

from .oracles import nfkc_charsmap

CONTROL = ("<|end|>", "<|im_start|>", "<|im_end|>")


def byte_level(pre: str = "gpt-2") -> dict[str, Any]:
    """Metadata of a byte-level vocabulary: all bytes, a few merges, two user-defined and three control tokens."""
    merges = ["h e", "l l", "Ġ w", "he ll", "hell o", "o r", "Ġw or", "Ġ Ġ", "1 2", "Ã ©", "ð Ł"]
    texts = [*byte_alphabet(), *(merge.replace(" ", "") for merge in merges), "<tool>", "\n\n\n", *CONTROL]
    types = [TokenType.NORMAL] * (len(texts) - 5) + [TokenType.USER_DEFINED] * 2 + [TokenType.CONTROL] * 3
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": [int(kind) for kind in types],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": texts.index("<|im_start|>"),
        "tokenizer.ggml.eos_token_id": texts.index("<|end|>"),
    }


def pieces(words: dict[str, float] | None = None, **changes: Any) -> dict[str, Any]:
    """Metadata of a SentencePiece vocabulary of pieces with scores."""
    words = words or {
        piece: -float(rank)
        for rank, piece in enumerate(
            ("▁h", "he", "ell", "ll", "hell", "o", "▁hell", "▁", "h", "e", "l", "w", "r", "d", "é")
        )
    }
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL] + [TokenType.BYTE] * 256
    metadata = {
        "model": "llama",
        "tokens": texts,
        "token_type": [int(kind) for kind in types + [TokenType.NORMAL] * len(words)],
        "scores": [0.0] * 259 + list(words.values()),
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (metadata | changes).items()}


BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
XLMR = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TEXTS = (
    *(line for line in Path(__file__).read_text().splitlines() if not set("<\u2581") & set(line)),
    *("The quick brown fox jumps over the lazy dog; unaffable, unwanted, running runs.", "caf\u00e9 \u00fcber") * 3,
    *("Привет мир, как дела", "नमस्ते दुनिया", "你好世界 こんにちは", "안녕하세요 세계", "مرحبا بالعالم", "Γειά σου") * 3,
)
"""A few lines to train small vocabularies on."""


@cache
def wordpieces(lowercase: bool = True) -> tokenizers.Tokenizer:
    """A tokenizer of BERT's kind, trained here."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(BERT), show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(mark, made.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")],
    )
    made.decoder = decoders.WordPiece()
    return made


def wordpiece_metadata(lowercase: bool = True, **changes: Any) -> dict[str, Any]:
    """Metadata of `wordpieces`, as llama.cpp's converter writes it."""
    known = wordpieces(lowercase).get_vocab()
    texts = sorted(known, key=known.__getitem__)
    metadata = {
        "model": "bert",
        "pre": "default",
        "tokens": [t if t in BERT else t[2:] if t.startswith("##") else f"\u2581{t}" for t in texts],
        "token_type": [int(TokenType.CONTROL if t in BERT else TokenType.NORMAL) for t in texts],
        "bos_token_id": known["[CLS]"],
        "unknown_token_id": known["[UNK]"],
        "seperator_token_id": known["[SEP]"],
        "padding_token_id": known["[PAD]"],
        "cls_token_id": known["[CLS]"],
        "mask_token_id": known["[MASK]"],
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (metadata | changes).items() if value is not None}


@cache
def unigrams(byte_fallback: bool = False) -> tokenizers.Tokenizer:
    """A tokenizer of XLM-RoBERTa's kind, trained here, with the tokenizer.json's parts of that."""
    trained = tokenizers.Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=400, special_tokens=list(XLMR[:4]), unk_token="<unk>", show_progress=False),
    )
    pieces = json.loads(trained.to_str())["model"]["vocab"]
    pieces += [[f"<0x{byte:02X}>", 0.0] for byte in range(256)] if byte_fallback else []
    pieces = [(text, float(np.float32(score))) for text, score in pieces] + [("<mask>", 0.0)]
    made = tokenizers.Tokenizer(models.Unigram(pieces, XLMR.index("<unk>"), byte_fallback))
    made.normalizer = normalizers.Precompiled(nfkc_charsmap())
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = (
        decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]) if byte_fallback else decoders.Metaspace()
    )
    made.add_special_tokens([tokenizers.AddedToken(mark, normalized=False, special=True) for mark in XLMR])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


def unigram_metadata(byte_fallback: bool = False, **changes: Any) -> dict[str, Any]:
    """Metadata of `unigrams`, as llama.cpp's converter writes it, with two unused tokens at the end."""
    pieces = json.loads(unigrams(byte_fallback).to_str())["model"]["vocab"]
    types = dict.fromkeys(XLMR, TokenType.CONTROL) | {"<unk>": TokenType.UNKNOWN}
    types |= {f"<0x{byte:02X}>": TokenType.BYTE for byte in range(256)} if byte_fallback else {}
    metadata = {
        "model": "t5",
        "pre": "default",
        "tokens": [text for text, _ in pieces] + ["[PAD0]", "[PAD1]"],
        "scores": [score for _, score in pieces] + [-10000.0] * 2,
        "token_type": [int(types.get(text, TokenType.NORMAL)) for text, _ in pieces] + [int(TokenType.UNUSED)] * 2,
        "precompiled_charsmap": np.frombuffer(nfkc_charsmap(), np.uint8),
        "add_space_prefix": True,
        "remove_extra_whitespaces": True,
        "add_bos_token": True,
        "add_eos_token": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "seperator_token_id": 2,
        "unknown_token_id": 3,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (metadata | changes).items() if value is not None}
