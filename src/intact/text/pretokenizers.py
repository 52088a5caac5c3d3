"""Patterns that split text into words before byte-level BPE, by the names in GGUF files (`tokenizer.ggml.pre`).

The patterns are those of the models' own tokenizer.json. A pattern of a family may serve under many names: where the
models share it, the names are listed together.
"""

from typing import Final, NamedTuple

_ENDINGS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3: Final = rf"{_ENDINGS}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2: Final = rf"{_ENDINGS}|{_WORD}|\p{{N}}|{_REST}"
_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SEED: Final = rf"{_ENDINGS}|{_WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K: Final = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK3: Final = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    (
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)


class PreTokenizerKind(NamedTuple):
    """One kind of pre-tokenizer.

    Attributes
    ----------
    patterns : tuple of str
        Each splits the pieces that the one before left; what lies between matches is a piece too.
    whole_words : bool
        If true, a word that is itself a token becomes that token, whatever its merges would give.
    bos : bool
        If true, a text begins with BOS where the file doesn't say.
    nfc : bool
        If true, the text is brought into Unicode's composed form first, as the models' own tokenizer does.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    bos: bool = False
    nfc: bool = False


_LLAMA3_KIND = PreTokenizerKind((_LLAMA3,), whole_words=True, bos=True)
_GPT2_KIND = PreTokenizerKind((_GPT2,))
_DIGITS_KIND = PreTokenizerKind((r"\p{N}", _GPT2))

KINDS: Final[dict[str, PreTokenizerKind]] = {
    # Files made before converters wrote the kind; this is what llama.cpp then does.
    "default": PreTokenizerKind((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
    **dict.fromkeys(("gpt-2", "olmo", "mpt", "exaone4"), _GPT2_KIND),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "minerva-7b"), _DIGITS_KIND),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"), _LLAMA3_KIND),
    **dict.fromkeys(("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), PreTokenizerKind((_LLAMA3,))),
    "qwen2": PreTokenizerKind((_QWEN2,), nfc=True),
    **dict.fromkeys(("deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"), PreTokenizerKind((_QWEN2,))),
    "seed-coder": PreTokenizerKind((_SEED,)),
    **dict.fromkeys(("gpt-4o", "llama4"), PreTokenizerKind((_O200K,))),
    **dict.fromkeys(("deepseek-v3", "hunyuan-dense"), PreTokenizerKind(_DEEPSEEK3)),
    "tekken": PreTokenizerKind((_TEKKEN,), whole_words=True, bos=True),
}
