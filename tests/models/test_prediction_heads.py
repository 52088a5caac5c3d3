"""Heads that predict a further token: their logits by a float64 program, and files that are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.engine.hidden import read_hidden
from intact.executors.settings import ExecutorSettings
from intact.models import ARCHITECTURES, build_program
from intact.models.prediction_heads import build_prediction_head
from intact.receipts.identity import measure
from support.folders import write_folder
from support.heads import (
    predicted,
    run_whole,
    write_folder_with_layer,
    write_head_gguf,
    write_headed_folder,
    write_headed_tiny,
)
from support.tiny import write_tiny
from support.variants import VARIANTS
from test_fidelity import FloatModel, divergence, relative_difference

TOKENS = [(37 * i * i + 11 * i + 5) % 301 for i in range(40)]
GOLDENS = json.loads((Path(__file__).parent / "goldens.json").read_text())
HEADED = tuple(name for name, one in ARCHITECTURES.items() if one.hf_heads and name != "glm4-moe-lite")
"""All but one whose GGUF files are those of DeepSeek V3."""
FOLDERS = ("qwen3.5", "qwen3.5-tied", "qwen3.5-moe", "qwen3-next")


@pytest.mark.parametrize("architecture", HEADED)
@pytest.mark.native
def test_a_heads_logits_are_those_of_the_formulas(tmp_path: Path, architecture: str) -> None:
    gentle = {"deepseek2.expert_weights_scale": 0.5}  # so that another choice of experts shows less
    path = write_headed_tiny(tmp_path / "tiny.gguf", architecture, metadata=gentle)
    expected = FloatModel(path).predicted(TOKENS)
    model, exact = (intact.load(path, profile, threads=1, drafter="heads") for profile in ("int8", "fp32"))
    assert relative_difference(predicted(exact, TOKENS), expected) < 1e-5
    assert divergence(expected, predicted(model, TOKENS)) < 0.02


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.native
def test_a_folders_head_is_read_as_other_programs_read_it(tmp_path: Path, name: str) -> None:
    """Names, gains around 1, experts of their own or in one tensor, rotation in part: by a file written by hand."""
    kind = VARIANTS[name].kind
    model = intact.load(write_headed_folder(tmp_path / name, name), "fp32", threads=1, drafter="heads")
    hidden = np.stack([read_hidden(row.tobytes(), "fp32").floats for row in run_whole(model.executor, TOKENS)[1]])
    expected = FloatModel(write_head_gguf(tmp_path / "head.gguf", name)).predicted(TOKENS, hidden[:-1])
    limit = 1e-5 if kind == "F32" else 0.02  # the file holds the values before they were rounded
    assert relative_difference(predicted(model, TOKENS), expected) < limit


@pytest.mark.parametrize("architecture", HEADED)
def test_the_reference_computes_the_same_integers(tmp_path: Path, architecture: str) -> None:
    path = write_headed_tiny(tmp_path / "tiny.gguf", architecture)
    fast, slow = (
        intact.load(path, threads=1, drafter="heads", executor=executor) for executor in ("native", "reference")
    )
    assert np.array_equal(predicted(fast, TOKENS), predicted(slow, TOKENS))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_head_changes_nothing_of_what_a_model_is(tmp_path: Path, name: str) -> None:
    roots = []
    for folder in (
        write_headed_folder(tmp_path / "with", name),
        write_folder(tmp_path / "without", VARIANTS[name], name),
    ):
        with open_checkpoint(folder) as checkpoint:
            roots.append(measure(build_program(checkpoint)).root)
    assert roots[0] == roots[1]


def test_a_model_with_pictures_has_its_text_parts_head(tmp_path: Path) -> None:
    folder = write_headed_folder(tmp_path, "qwen3.5")
    with open_checkpoint(folder) as own:
        expected = build_prediction_head(own)
        config = {
            "architectures": ["Qwen3_5ForConditionalGeneration"],
            "text_config": dict(VARIANTS["qwen3.5"].config) | {"mtp_num_hidden_layers": 1},
        }
        tensors = {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in own.tensors.items()}
        found = build_prediction_head(Checkpoint(folder, "safetensors", config, tensors))
    assert expected is not None
    assert found is not None
    assert measure(found).root == measure(expected).root


def test_models_without_a_head_say_so_before_weights_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSettings, "make_executor", lambda *given, **named: pytest.fail("it read weights"))
    for architecture in ("qwen35", "llama"):
        path = write_tiny(tmp_path / f"{architecture}.gguf", architecture)
        with open_checkpoint(path) as checkpoint:
            assert build_prediction_head(checkpoint) is None
        with pytest.raises(ParameterError, match=rf"{architecture}\.gguf has no prediction head"):
            intact.load(path, drafter="heads")


@pytest.mark.parametrize(
    ("changes", "without", "problem"),
    [
        ({"mtp_num_hidden_layers": 2}, "", "one layer and share the model's embeddings, found mtp_num_hidden_layers 2"),
        ({"mtp_use_dedicated_embeddings": True}, "", "embeddings of their own"),
        ({}, "mtp.fc.weight", r"tensor mtp\.fc\.weight of the prediction head is missing"),
        ({}, "mtp.norm.weight", r"tensor mtp\.norm\.weight of the prediction head is missing"),
        (
            {},
            "mtp.layers.0.self_attn.q_proj.weight",
            r"self_attn\.q_proj\.weight of the prediction head is",
        ),
    ],
)
def test_folders_whose_head_would_be_computed_wrongly_are_refused(
    tmp_path: Path, changes: dict[str, Any], without: str, problem: str
) -> None:
    folder = write_headed_folder(tmp_path, "qwen3.5", {without: None} if without else {})
    (folder / "config.json").write_text(json.dumps(dict(VARIANTS["qwen3.5"].config) | changes))
    with open_checkpoint(folder) as checkpoint, pytest.raises(ModelError, match=problem):
        build_prediction_head(checkpoint)


@pytest.mark.native
@pytest.mark.parametrize("name", GOLDENS["heads"])
def test_a_layer_behind_the_others_computes_what_transformers_does(tmp_path: Path, name: str) -> None:
    golden = GOLDENS["heads"][name]
    folder, _ = write_folder_with_layer(tmp_path, name)
    ours = predicted(intact.load(folder, "fp32", threads=1, drafter="heads"), TOKENS)
    places = [p for p in GOLDENS["positions"] if p < len(ours)]
    found = ours[np.ix_(places, range(0, ours.shape[1], GOLDENS["every"]))]
    assert np.abs(found - np.array(golden["logits"])).max() < 1e-5 * golden["range"]


@pytest.mark.native
@pytest.mark.parametrize("architecture", ["deepseek3", "glm4moe"])
def test_guesses_of_a_head_change_no_token(tmp_path: Path, architecture: str) -> None:
    path = write_headed_tiny(tmp_path / "tiny.gguf", architecture)
    asked: dict[str, Any] = {"n": 3, "temperature": 0.5, "max_tokens": 24, "seed": 3}
    texts = [
        [c.tokens for c in intact.load(path, threads=threads, drafter=drafter).generate([TOKENS[:9]], **asked)[0]]
        for threads, drafter in ((1, "off"), (2, "heads"))
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["deepseek-v3", "glm4-moe-lite", "glm4moe", "glm4moe-air"])
def test_a_head_behind_the_layers_is_a_model_of_that_layer(tmp_path: Path, name: str) -> None:
    folder, layer = write_folder_with_layer(tmp_path, name)
    with open_checkpoint(folder) as checkpoint:
        program = build_prediction_head(checkpoint)
        assert program is not None
        used = {canonical: tensor.name for canonical, tensor in program.tensors.items()}
        root = measure(build_program(checkpoint)).root
    assert used["blk.0.nextn.eh_proj.weight"] == f"{layer}.eh_proj.weight"
    assert used["output_norm.weight"] == f"{layer}.shared_head.norm.weight"
    assert used["blk.0.attn_norm.weight"] == f"{layer}.input_layernorm.weight"
    assert used["token_embd.weight"] == f"{layer}.embed_tokens.weight"
    assert used["output.weight"] == "lm_head.weight"
    with open_checkpoint(write_folder(tmp_path / "without", VARIANTS[name], name)) as plain:
        assert build_prediction_head(plain) is None
        assert measure(build_program(plain)).root == root


@pytest.mark.parametrize(
    ("layers", "without", "problem"),
    [
        (2, "", "prediction heads must have one layer, found num_nextn_predict_layers 2"),
        (1, "eh_proj.weight", r"tensor model\.layers\.3\.eh_proj\.weight of the prediction head is missing"),
        (1, "shared_head.norm.weight", r"tensor model\.layers\.3\.shared_head\.norm\.weight of the prediction head is"),
        (1, "self_attn.k_proj.bias", r"tensor model\.layers\.3\.self_attn\.k_proj\.bias of the prediction head is"),
    ],
)
def test_layers_that_would_be_computed_wrongly_are_refused(
    tmp_path: Path, layers: int, without: str, problem: str
) -> None:
    folder, layer = write_folder_with_layer(tmp_path, "glm4moe", layers)
    with open_checkpoint(folder) as whole:
        tensors = {key: tensor for key, tensor in whole.tensors.items() if key != f"{layer}.{without}"}
        with pytest.raises(ModelError, match=problem):
            build_prediction_head(Checkpoint(folder, "safetensors", whole.metadata, tensors))


def test_files_with_several_layers_that_predict_are_refused(tmp_path: Path) -> None:
    path = write_headed_tiny(tmp_path / "tiny.gguf", "qwen35")
    with open_checkpoint(path) as own:
        counts = {"qwen35.nextn_predict_layers": 2}
        several = Checkpoint(path, "gguf", {**own.metadata, **counts}, own.tensors)
        with pytest.raises(ModelError, match="nextn_predict_layers must be an integer from 0 to 1"):
            build_prediction_head(several)
