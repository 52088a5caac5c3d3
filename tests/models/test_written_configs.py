"""Folders as today's Transformers writes them, whose configurations have other names, are the models that they were.

`written_configs.json` holds configurations that Transformers 5.24 wrote of models of `support.variants`, and for each of
their `model_type` the other names of its attributes (`attribute_map`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import intact
from intact.errors import ModelError
from intact.formats import open_checkpoint
from intact.models import build_program
from intact.receipts.identity import describe
from support.folders import write_folder
from support.variants import VARIANTS
from support.variants.form import TOKENS

RECORDED = json.loads((Path(__file__).parent / "written_configs.json").read_text())
ALIASES: Mapping[str, Mapping[str, str]] = RECORDED["aliases"]
UNREAD = {"num_mtp_layers", "head_dim"}
"""Names that Transformers reads and no version wrote in the place of its own."""
ELSEWHERE = ("hgrn_bit", "internlm2", "mamba3", "minicpm", "bailing_moe")
"""Families of which Transformers has no configuration."""


def text_of(config: Any) -> Any:
    """The part of a config.json that describes the text model."""
    return config.get("text_config") or config


def described(folder: Path) -> Mapping[str, Any]:
    with open_checkpoint(folder) as checkpoint:
        return describe(build_program(checkpoint))


def with_config(folder: Path, config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", RECORDED["configs"])
def test_a_configuration_of_today_is_the_same_model(name: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS[name], name)
    before = described(folder)
    assert described(with_config(folder, RECORDED["configs"][name])) == before


def renamed() -> Iterator[tuple[str, str, str]]:
    """Models, names of what their configurations hold, and other names of the same."""
    for name, variant in VARIANTS.items():
        own = text_of(variant.config)
        for alias, key in ALIASES.get(own["model_type"], {}).items():
            for there, other in ((alias, key), (key, alias)):
                if own.get(there) is not None and not {there, other} & UNREAD:
                    yield name, there, other


@pytest.mark.parametrize(("name", "there", "other"), list(renamed()))
def test_another_name_stands_beside_one_or_in_its_place(name: str, there: str, other: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS[name], name)
    before, config = described(folder), json.loads((folder / "config.json").read_text())
    text_of(config)[other] = text_of(config)[there]
    assert described(with_config(folder, config)) == before
    del text_of(config)[there]
    assert described(with_config(folder, config)) == before


def test_two_names_with_two_numbers_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS["qwen3moe"], "qwen3moe")
    with_config(folder, {**VARIANTS["qwen3moe"].config, "num_local_experts": 6})
    with pytest.raises(ModelError, match="num_local_experts must be 8, as num_experts, found 6"):
        described(folder)
    dense = write_folder(tmp_path / "dense", VARIANTS["qwen3"], "qwen3")
    with_config(dense, {**VARIANTS["qwen3"].config, "num_local_experts": 6})
    with pytest.raises(ModelError, match="num_local_experts is 6, which is not supported"):
        described(dense)


def test_sizes_of_single_layers_are_read_of_gemma_4_alone(tmp_path: Path) -> None:
    own = {"1": {"head_dim": 24}}
    folder = with_config(
        write_folder(tmp_path / "m", VARIANTS["llama"], "llama"), {**VARIANTS["llama"].config, "per_layer_config": own}
    )
    with pytest.raises(ModelError, match="per_layer_config is .*, which is not supported"):
        described(folder)
    config = RECORDED["configs"]["gemma4"]
    gemma = write_folder(tmp_path / "gemma", VARIANTS["gemma4"], "gemma4")
    before = dict(config["per_layer_config"])
    for wrong in (
        own,
        {**before, "0": {"head_dim": 24}},
        {**before, "3": {"head_dim": 32}},
        dict.fromkeys(before, {"head_dim": 24, "sliding_window": 4}),
        dict.fromkeys(before, 24),
        {},
    ):
        with_config(gemma, {**config, "per_layer_config": wrong})
        with pytest.raises(ModelError, match=r"per_layer_config must be the same head_dim|has shape"):
            described(gemma)


def test_every_family_of_transformers_is_written_and_read_again(tmp_path: Path) -> None:
    """Whatever version is installed."""
    transformers = pytest.importorskip("transformers")
    found = {}
    for name, variant in VARIANTS.items():
        kind = variant.config["model_type"]
        if kind in ELSEWHERE:
            continue
        folder = write_folder(tmp_path / name, variant, name)
        before, made = described(folder), transformers.CONFIG_MAPPING[kind].from_dict(dict(variant.config))
        made.save_pretrained(folder)
        assert described(folder) == before, name
        text = made.get_text_config()
        found[text.model_type] = {alias: key for alias, key in type(text).attribute_map.items() if alias != key}
    unknown = {kind: own for kind, own in found.items() if own.items() - ALIASES.get(kind, {}).items()}
    assert not unknown, "names that tests/models/written_configs.json lacks"


@pytest.mark.slow
def test_every_model_of_transformers_is_saved_and_read_again(tmp_path: Path) -> None:
    """Whatever version is installed: tensors have the names that it writes, too."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    for name, variant in VARIANTS.items():
        kind = variant.config["model_type"]
        if kind in ELSEWHERE or kind not in transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            continue
        folder, saved = write_folder(tmp_path / name, variant, name), tmp_path / f"{name}-saved"
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        model.save_pretrained(saved)
        (saved / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        before, after = (intact.load(one).logits(TOKENS, raw=True)[0] for one in (folder, saved))
        assert (before == after).all(), name
