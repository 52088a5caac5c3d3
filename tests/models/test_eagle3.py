"""EAGLE-3 heads: their logits by a float64 program, whose rows they read, and folders that are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.engine.draft.eagle3 import Eagle
from intact.executors.settings import ExecutorSettings
from intact.library import Model
from intact.models import build_program
from intact.models.eagle3 import build_eagle_head
from support.eagle import (
    CONFIG,
    DRAFTED,
    VOCABULARY,
    WIDTH,
    drafted_tokens,
    eagle_of,
    eagle_values,
    features,
    predicted,
    write_eagle,
    write_model,
)
from support.folders import write_folder
from support.heads import run_whole
from support.tiny import write_tiny
from support.variants import VARIANTS
from test_fidelity import divergence, relative_difference

TOKENS = [(37 * i * i + 11 * i + 5) % VOCABULARY for i in range(40)]
KEY = "eagle_aux_hidden_state_layer_ids"
EMBEDDING = "model.embed_tokens.weight"


def load(path: Path, head: Path, profile: Any = "fp32", **options: Any) -> tuple[Model, Eagle]:
    model = intact.load(path, profile, threads=1, drafter="model", draft_model=head, **options)
    return model, eagle_of(model)


def logits_of(model: Model, head: Eagle) -> tuple[np.ndarray, np.ndarray]:
    """The head's own logits behind each token of the text but the first, and the rows it read."""
    rows = features(model, TOKENS)[:-1]
    head.given.rows = [row.tobytes() for row in rows]
    return run_whole(head.executor, TOKENS[1:])[0], rows


def embeddings(path: Path) -> np.ndarray:
    with open_checkpoint(path) as checkpoint:
        tensor = checkpoint.tensors[EMBEDDING]
        return np.array(tensor.data.view("<f4").reshape(tensor.shape), np.float64)[TOKENS[1:]]


@pytest.mark.native
@pytest.mark.parametrize("norms_entered", [False, True])
def test_logits_are_those_of_the_formulas(tmp_path: Path, norms_entered: bool) -> None:
    path, values = write_model(tmp_path / "model"), eagle_values()
    folder = write_eagle(tmp_path / "head", values, CONFIG | {"norm_before_residual": norms_entered})
    found, rows = logits_of(*load(path, folder))
    expected = predicted(values, embeddings(path), rows, norms_entered=norms_entered)
    assert relative_difference(found, expected) < 1e-5
    found, rows = logits_of(*load(path, folder, "int8"))
    expected = predicted(values, embeddings(path), rows, norms_entered=norms_entered)
    assert divergence(expected, found) < 0.01


@pytest.mark.native
def test_the_rows_are_those_that_enter_the_third_the_middle_and_the_last_but_two(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model")
    found = {}
    for name, changes in {
        "default": {},
        "entered": {KEY: [2, 3, 3]},
        "left": {"eagle_config": {KEY: [1, 2, 2]}},
        "others": {KEY: [3, 0, 2]},
    }.items():
        model, _ = load(path, write_eagle(tmp_path / name, eagle_values(), CONFIG | changes))
        found[name] = features(model, TOKENS).reshape(len(TOKENS), 3, WIDTH)
    assert np.array_equal(found["default"], found["entered"])
    assert np.array_equal(found["default"], found["left"])
    assert np.array_equal(found["default"][:, [2, 0]], found["others"][:, [0, 2]])
    assert np.allclose(found["others"][1:, 1], embeddings(path))


@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_watching_changes_no_logit_and_no_digest(tmp_path: Path, profile: Any) -> None:
    path = write_model(tmp_path / "model")
    plain = intact.load(path, profile, threads=1, drafter="off")
    watched, _ = load(path, write_eagle(tmp_path / "head", eagle_values()), profile)
    assert np.array_equal(run_whole(watched.executor, TOKENS)[0], run_whole(plain.executor, TOKENS)[0])
    receipts = [model.generate("a b", max_tokens=5, receipt=True)[0][0].receipt for model in (plain, watched)]
    assert receipts[0] == receipts[1]


def test_the_reference_computes_the_same_integers(tmp_path: Path) -> None:
    path, folder = write_model(tmp_path / "model"), write_eagle(tmp_path / "head", eagle_values())
    (fast, fast_rows), (slow, slow_rows) = (
        logits_of(*load(path, folder, "int8", executor=executor)) for executor in ("native", "reference")
    )
    assert np.array_equal(fast_rows, slow_rows)
    assert np.array_equal(fast, slow)


def test_other_files_hold_the_same_head(tmp_path: Path) -> None:
    """Of vLLM's speculators, with the layer under another name, the shape in an object, and an embedding of its own."""
    path, values = write_model(tmp_path / "model"), eagle_values()
    with open_checkpoint(path) as checkpoint:
        program = build_program(checkpoint)
        tensor = checkpoint.tensors[EMBEDDING]
        own = {"embed_tokens.weight": tensor.data.view("<f4").reshape(tensor.shape)}
    renamed = {name.replace("midlayer.", "layers.0."): array for name, array in values.items()} | own
    config = {"architectures": ["Eagle3Speculator"], "draft_vocab_size": DRAFTED, "transformer_layer_config": CONFIG}
    heads = []
    for folder in (write_eagle(tmp_path / "a", values), write_eagle(tmp_path / "b", renamed, config)):
        with open_checkpoint(folder) as files:
            heads.append(build_eagle_head(files, program))
            assert heads[-1].tokens is not None
            assert heads[-1].tokens.tolist() == drafted_tokens().tolist()
    assert heads[0].program.ops == heads[1].program.ops
    assert heads[0].boundaries == heads[1].boundaries == (2, 3, 3)


def test_a_head_of_the_whole_vocabulary_needs_no_list_of_tokens(tmp_path: Path) -> None:
    values = eagle_values() | {"lm_head.weight": np.zeros((VOCABULARY, WIDTH), np.float32)}
    config = {key: value for key, value in CONFIG.items() if key != "draft_vocab_size"}
    with open_checkpoint(write_model(tmp_path / "model")) as checkpoint:
        program = build_program(checkpoint)
        with open_checkpoint(write_eagle(tmp_path / "head", values, config)) as files:
            assert build_eagle_head(files, program).tokens is None


@pytest.mark.parametrize(
    ("changes", "without", "problem"),
    [
        ({"draft_vocab_size": 400}, "", "draft_vocab_size must be an integer from 1 to 301"),
        ({"draft_vocab_size": 180}, "", r"tensor lm_head\.weight has shape \(190, 64\), expected \(180, 64\)"),
        ({KEY: [1, 2, 6]}, "", "must list layers of the model, which has 6"),
        ({KEY: [1, 2]}, "", r"tensor fc\.weight has shape \(64, 192\), expected \(64, 128\)"),
        ({}, "fc.weight", r"tensor fc\.weight of the EAGLE-3 head is missing"),
        ({}, "midlayer.hidden_norm.weight", r"tensor midlayer\.hidden_norm\.weight of the EAGLE-3 head is missing"),
        ({}, "midlayer.self_attn.q_proj.weight", r"tensor midlayer\.self_attn\.q_proj\.weight of the EAGLE-3 head is"),
        ({}, "d2t", "names a token twice"),
        ({}, "more", r"tensor more\.weight: not part of"),
    ],
)
def test_heads_that_would_be_computed_wrongly_are_refused_before_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], without: str, problem: str
) -> None:
    monkeypatch.setattr(ExecutorSettings, "make_executor", lambda *given, **named: pytest.fail("it read weights"))
    values = {name: array for name, array in eagle_values().items() if name != without}
    if without == "more":
        values["more.weight"] = values["fc.weight"]
    twice = np.zeros(DRAFTED, np.int64) - np.arange(DRAFTED) if without == "d2t" else None
    folder = write_eagle(tmp_path / "head", values, CONFIG | changes, twice)
    with pytest.raises(ModelError, match=problem):
        load(write_model(tmp_path / "model"), folder)


def test_heads_of_other_models_are_refused(tmp_path: Path) -> None:
    folder = write_eagle(tmp_path / "head", eagle_values())
    other = write_tiny(tmp_path / "tiny.gguf", "llama", vocabulary=290)
    with pytest.raises(ModelError, match=r"eagle_aux_hidden_state_layer_ids must list|its embedding has"):
        load(other, folder)
    with pytest.raises(ParameterError, match="prediction heads and tensor_parallel cannot be combined"):
        load(write_model(tmp_path / "model"), folder, tensor_parallel=2)
    headed = write_folder(tmp_path / "qwen", VARIANTS["qwen3.5"], "qwen3.5")
    with pytest.raises(ParameterError, match="but draft_model names another"):
        intact.load(headed, drafter="heads", draft_model=folder)
    with pytest.raises(ModelError, match=r"drafts for another model: .* draft_model="):
        intact.load(folder)
