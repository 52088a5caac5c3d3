"""Folders as today's Transformers writes them, whose configurations have other names, are the models that they were.

`written_configs.json` holds configurations that Transformers 5.24 wrote of models of `support.variants`, and for each
`model_type` the other names of its attributes (`attribute_map`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import intact
from intact._base.errors import ModelError
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.safetensors import read_safetensors
from intact.models import build_program
from intact.receipts.identity import describe
from support.folders import write_folder, write_safetensors
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
    with pytest.raises(ModelError, match=r"per_layer_config is .*, which is not supported"):
        described(folder)
    config = RECORDED["configs"]["gemma4"]
    gemma = write_folder(tmp_path / "gemma", VARIANTS["gemma4"], "gemma4")
    before = dict(config["per_layer_config"])
    for wrong in (
        own,
        {**before, "0": {"head_dim": 24}},
        {**before, "3": {"head_dim": 32}},
        {layer: {"head_dim": 24, "sliding_window": 4} for layer in before},
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
@pytest.mark.parametrize("name", VARIANTS)
def test_a_model_of_transformers_is_saved_and_read_again(name: str, tmp_path: Path) -> None:
    """Whatever version is installed: tensors have the names and forms that it writes, too."""
    pytest.importorskip("torch")
    transformers, variant = pytest.importorskip("transformers"), VARIANTS[name]
    known = transformers.models.auto.modeling_auto
    pictures = "vision_config" in variant.config
    kinds = (known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, known.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    if variant.config["model_type"] not in kinds[pictures]:
        assert variant.config["model_type"] in ELSEWHERE
        return
    loader = transformers.AutoModelForImageTextToText if pictures else transformers.AutoModelForCausalLM
    folder, saved = write_folder(tmp_path / "own", variant, name), tmp_path / "saved"
    loader.from_pretrained(folder, dtype="auto").save_pretrained(saved)
    (saved / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    before, after = (intact.load(one).logits(TOKENS, raw=True)[0] for one in (folder, saved))
    assert (before == after).all()


def test_experts_of_pictures_models_are_read_in_both_forms(tmp_path: Path) -> None:
    """Transformers 5 saves them outputs by inputs, where published folders have them inputs by outputs."""
    folder = write_folder(tmp_path / "m", VARIANTS["qwen3-vl-moe"], "qwen3-vl-moe")
    before = intact.load(folder).logits(TOKENS, raw=True)[0]
    path = folder / "model.safetensors"
    stored = {name: (t.kind, t.shape, t.data) for name, t in read_safetensors(path).items()}
    for name, (kind, shape, data) in stored.items():
        if ".mlp.experts." in name:
            values = data.reshape(*shape, -1).swapaxes(1, 2)
            stored[name] = kind, values.shape[:3], values
    write_safetensors(path, {name: (kind, shape, data.tobytes()) for name, (kind, shape, data) in stored.items()})
    assert (intact.load(folder).logits(TOKENS, raw=True)[0] == before).all()


@pytest.mark.parametrize("name", ["exaone", "internlm3"])
def test_a_family_that_transformers_runs_as_llama_keeps_its_names(name: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS[name], name)
    before = described(folder)
    config = {**VARIANTS[name].config, "architectures": ["LlamaForCausalLM"]}
    assert described(with_config(folder, config)) == before
