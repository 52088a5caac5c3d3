"""Shards beside what else a model may be loaded with: a KV codec, mixes, partners, drafters; texts are those of one."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import intact
from intact.engine.drafting import Drafting
from intact.library import Model
from intact.library.parallel.executor import ParallelExecutor
from intact.library.parallel.pipeline import PipelineExecutor
from support.tally import Eager
from support.tiny import write_tiny

PROMPTS = ["one two three", "one two three four", "a"]
SAMPLED: dict[str, Any] = {"max_tokens": 12, "temperature": 0.8, "seed": 5, "ignore_eos": True, "receipt": True}
GUIDED: dict[str, Any] = {"mix": {"name": "guidance", "scale": 1.5}, "shadow": ["two", "three", "b"]}
OPTIONS: dict[str, tuple[dict[str, Any], Sequence[dict[str, Any]]]] = {
    "a codec, and a mix with another prompt": ({"kv": "int4"}, ({}, GUIDED)),
    "a mix with another model": ({"partners": ["other"]}, ({"mix": {"name": "contrastive"}},)),
    "a draft model": ({"draft_model": "other", "drafter": "model"}, ({}, GUIDED)),
    "stand": ({"drafter": "stand"}, ({}, {})),
}
"""What a model is loaded with, and what is then asked for in turn."""
CLASSES = {"tensor_parallel": ParallelExecutor, "pipeline_parallel": PipelineExecutor}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shards")
    return {name: write_tiny(folder / f"{name}.gguf", "qwen3", seed=seed) for seed, name in enumerate(("m", "other"))}


def load(paths: dict[str, Path], name: str, **ways: int) -> Model:
    """The model with these options, drafting as much as it may where it drafts."""
    options = dict(OPTIONS[name][0])
    if "partners" in options:
        options["partners"] = [paths["other"]]
    if "draft_model" in options:
        options["draft_model"] = paths["other"]
    drafter = options.pop("drafter", "off")
    model = intact.load(paths["m"], threads=1, page_size=16, drafter=drafter, **options, **ways)
    if model.engine.drafting is not None:
        model.engine.drafting = Drafting(model.engine.drafting.drafter, Eager())  # type: ignore[arg-type]
    return model


def answers(model: Model, name: str) -> list[tuple[str, bytes]]:
    """Texts and receipts of several samples of each prompt, of all that is asked for."""
    found = [
        one for asked in OPTIONS[name][1] for many in model.generate(PROMPTS, n=2, **SAMPLED, **asked) for one in many
    ]
    return [(one.text, one.receipt.encode()) for one in found if one.receipt is not None]


@pytest.fixture(scope="module")
def expected(paths: dict[str, Path]) -> Any:
    """What one process answers, without drafts."""

    @cache
    def found(name: str) -> list[tuple[str, bytes]]:
        with load(paths, name) as model:
            model.engine.drafting = None
            return answers(model, name)

    return found


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("way", CLASSES)
def test_texts_and_receipts_are_those_of_one_process(
    way: str, name: str, paths: dict[str, Path], expected: Any
) -> None:
    options, asked = OPTIONS[name]
    with load(paths, name, **{way: 2}) as model:
        assert isinstance(model.executor, CLASSES[way])
        assert model.executor.profile == ("int8+kv-int4" if "kv" in options else "int8")
        assert answers(model, name) == expected(name)
        counters = model.engine.counters
        assert (counters.drafted > 0) == ("drafter" in options)
        assert model.executor.traffic["sent"] > 0
    assert len({text for text, _ in expected(name)}) > len(PROMPTS)
    assert len(expected(name)) == 2 * len(PROMPTS) * len(asked)
