"""Transformers as a back end: its draws are those of our engine, as far as its arithmetic is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import intact
from intact._base.errors import ModelError, ParameterError
from intact.engine.sampling.parameters import SamplingParameters
from intact.numerics.sampling import LOGPROB_SCALE
from intact.reason.backends.base import Backend, Generation, Written
from intact.reason.backends.native import NativeBackend
from intact.reason.backends.transformers import TransformersBackend
from intact.reason.problem import State
from support.float_model import save_tiny_llama

CHAT = (("user", "How are you?"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("float") / "llama")


def write(backend: Backend, *generations: Generation) -> list[Written]:
    backend.start(generations)
    while any(one.written is None for one in generations):
        backend.step()
    return [one.written for one in generations if one.written is not None]


def generation(place: int, prompt: object = CHAT, **parameters: object) -> Generation:
    options: dict[str, object] = {"max_tokens": 10, "temperature": 0.8, "seed": 5} | parameters
    return Generation(State(prompt, ("p",)), SamplingParameters(**options), ("p", place))  # type: ignore[arg-type]


SETTINGS = [
    {"temperature": 0.0, "top_logprobs": 4},
    {"top_p": 0.9, "top_k": 40},
    {"repetition_penalty": 1.3, "min_p": 0.02, "top_logprobs": 2},
    {"regex": "[a-c]{4,6}", "max_tokens": 8},
    {"stop": ("e", "a"), "max_tokens": 30},
]


def test_a_model_without_a_chat_template_continues_texts(folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(folder, tmp_path / "base")
    (base / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    backend = TransformersBackend.load(base)
    result = intact.solve(backend, "self_consistency", "How are you?", n=2, max_tokens=3)
    assert (result.why, result.trace["prompt"]) == ("done", "How are you?"), result.error


@pytest.mark.parametrize("parameters", SETTINGS, ids=lambda p: next(iter(p)))
def test_it_draws_what_our_engine_draws_from_the_same_weights(folder: Path, parameters: dict[str, object]) -> None:
    ours, theirs = NativeBackend(intact.load(folder, profile="fp32", threads=1)), TransformersBackend.load(folder)
    assert ours.vocabulary == theirs.vocabulary
    assert ours.count(CHAT) == theirs.count(CHAT)
    for place in range(3):
        (one,), (other,) = (write(backend, generation(place, **parameters)) for backend in (ours, theirs))
        assert (other.tokens, other.text, other.why, other.error) == (one.tokens, one.text, one.why, one.error)
        assert [value / LOGPROB_SCALE for value in other.logprobs] == pytest.approx(
            [value / LOGPROB_SCALE for value in one.logprobs], abs=1e-3
        )
        assert [[word for word, _ in top] for top in other.top] == [[word for word, _ in top] for top in one.top]
        if "regex" in parameters:
            assert re.fullmatch("[a-c]{4,6}", other.text)


def test_company_changes_no_bit(folder: Path) -> None:
    backend = TransformersBackend.load(folder)
    prompts = [CHAT, "Once", CHAT, "upon a time"]
    alone = [write(TransformersBackend.load(folder), generation(i, p))[0] for i, p in enumerate(prompts)]
    together = write(backend, *[generation(i, p) for i, p in enumerate(prompts)])
    assert together == alone


def test_weights_that_are_no_numbers_fail_by_name(folder: Path) -> None:
    import torch

    backend = TransformersBackend.load(folder)
    with torch.no_grad():
        backend.model.lm_head.weight.fill_(float("nan"))
    (written,) = write(backend, generation(0))
    assert (written.why, written.tokens) == ("error", ())
    assert "returned non-finite logits" in written.error


def test_what_cannot_be_loaded_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="not a folder of safetensors"):
        TransformersBackend.load(tmp_path / "nowhere")
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match="Transformers cannot load it"):
        TransformersBackend.load(damaged)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ParameterError, match="pip install"):
        TransformersBackend.load(folder)
