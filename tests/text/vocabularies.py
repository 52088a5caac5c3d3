"""Small vocabularies, made on the spot."""

from typing import Any

from intact.text.vocabulary import TokenType, byte_alphabet

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
