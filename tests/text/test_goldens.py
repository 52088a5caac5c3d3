"""Tokenizers give the reference's tokens on the vocabularies of real models: benchmarks/make_token_goldens.py."""

import hashlib
import json
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.text import Tokenizer

from .texts import COMPOSING, LONG, MODELS, SHORT, long_text

GOLDENS: dict[str, Any] = json.loads((Path(__file__).parent / "goldens.json").read_text(encoding="utf-8"))


@cache
def _metadata(path: Path) -> dict[str, Any]:
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint.metadata)


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, model_path: Callable[[str], Path]) -> tuple[str, Tokenizer]:
    model, changes = MODELS[request.param]
    return request.param, Tokenizer.from_gguf(_metadata(model_path(model)) | changes, request.param)


def test_short_texts_have_the_reference_tokens(case: tuple[str, Tokenizer]) -> None:
    name, tokenizer = case
    golden = GOLDENS[name]
    for text, special, plain in zip(SHORT, golden["special"], golden["plain"], strict=True):
        assert tokenizer.encode(text) == special, text
        assert tokenizer.encode(text, special=False, bos=False) == plain, text


@pytest.mark.parametrize("key", LONG)
def test_long_texts_have_the_reference_tokens(case: tuple[str, Tokenizer], key: str, data_dir: Path) -> None:
    name, tokenizer = case
    ids = tokenizer.encode(long_text(data_dir, key), special=False, bos=False)
    golden = GOLDENS[name]["long"][key]
    assert len(ids) == golden["tokens"]
    assert hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:32] == golden["sha256"]


def test_decoding_gives_the_text_back(case: tuple[str, Tokenizer]) -> None:
    name, tokenizer = case
    for text in SHORT:
        if name in COMPOSING:
            text = unicodedata.normalize("NFC", text)
        if "\u0000" in text and "smollm2" in name:  # it has no tokens for some control characters
            continue
        if "gemma" in name:
            text = text.replace("\u2581", " ")  # which is how its tokens write a space
        if "leading space" in name and any(added in text for added in ("\n", "\t", "  ", "<", "[")):
            continue  # a space is put after such a token too, as the reference does, and stays
        assert tokenizer.decode(tokenizer.encode(text, bos=False), skip_special=False) == text


def test_turns_and_texts_end_generation(model_path: Callable[[str], Path]) -> None:
    def names(model: str) -> set[str]:
        tokenizer = Tokenizer.from_gguf(_metadata(model_path(model)))
        return {tokenizer.token_bytes(token).decode() for token in tokenizer.eos_ids}

    assert names("smollm2-135m") == {"<|endoftext|>", "<|im_end|>"}
    assert names("qwen-coder-0.5b") == {"<|endoftext|>", "<|im_end|>"}
    # llama.cpp also stops Gemma 3 at </s>, which is no end there but the end of crossed-out text in HTML.
    assert names("gemma3-270m") == {"<eos>", "<end_of_turn>"}


def test_a_conversation_of_the_default_model(model_path: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.from_checkpoint(open_checkpoint(model_path("smollm2-135m")))
    prompt = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    messages = [{"role": "user", "content": "Hi"}]
    assert tokenizer.chat_template is not None
    assert tokenizer.chat_template.render(messages) == prompt
    assert tokenizer.encode_chat(messages) == tokenizer.encode(prompt)
