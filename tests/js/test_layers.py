"""The JavaScript package checks receipts by the layers that somebody opened, as the Python package does."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact.checkpoints.formats import open_checkpoint
from intact.cli.verify import STATUS
from intact.engine.engine import Engine
from intact.library import Model
from intact.receipts import layers, opening
from intact.receipts.commitment import LayerCommitment
from intact.receipts.document import Receipt, write_receipts
from intact.receipts.identity import root_of
from intact.receipts.opening import Opening, choose_layers, commit, open_layers
from js.conftest import node
from support.forger import LayerForger
from support.tiny import write_tiny

COUNT = 3
ASKED: dict[str, Any] = {"max_tokens": 40, "temperature": 0.7, "seed": 3, "ignore_eos": True, "receipt": True}
Check = Callable[..., tuple[str | None, str]]


@pytest.fixture
def check(package: Path, tmp_path: Path) -> Check:
    """Give a function that has a receipt checked by an opening, and returns what is wrong, with the detail."""

    def run(
        model: Path, receipt: Receipt, opened: Opening, nonce: str, number: int = 1, expected: str = "partial"
    ) -> tuple[str | None, str]:
        file, rows = tmp_path / "receipt", tmp_path / "opening"
        write_receipts(file, [receipt])
        opened.save(rows)
        options = "--opening", rows, "--nonce", nonce, "--layers", number, "--json"
        text = node(
            *(package / "bin" / "intact.mjs", "verify", file, "--model", model, *options), expected=STATUS[expected]
        )
        (found,) = json.loads(text)["receipts"]
        assert found["outcome"] == expected, found
        return found["what"], found["detail"]

    return run


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=256, layers=COUNT)


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return intact.load(path, drafter="off")


@pytest.fixture(scope="module")
def committed(model: Model) -> Receipt:
    return commit(model, answer(model))


def answer(model: Model) -> Receipt:
    made: Receipt = model.generate("Why is the sky blue?" * 6, **ASKED)[0][0].receipt
    return made


def nonce_for(receipt: Receipt, *chosen: int) -> str:
    return next(n for n in map(str, range(999)) if choose_layers(n, receipt.digest, COUNT, len(chosen)) == chosen)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_every_layer_is_checked(check: Check, tmp_path: Path, architecture: str) -> None:
    file = write_tiny(tmp_path / "tiny.gguf", architecture, context=256, layers=COUNT)
    with intact.load(file, drafter="off") as model:
        receipt = commit(model, answer(model))
        for layer in range(COUNT):
            nonce = nonce_for(receipt, layer)
            what, detail = check(file, receipt, open_layers(model, receipt, nonce), nonce)
            assert (what, f"layers {layer} were computed" in detail) == (None, True)
        nonce = nonce_for(receipt, 0, 2)
        check(file, receipt, open_layers(model, receipt, nonce, 2), nonce, 2)
        check(file, receipt, open_layers(model, receipt, "x", COUNT), "x", COUNT, "true")


def test_the_whole_verification_says_that_it_leaves_the_commitment_out(
    package: Path, path: Path, committed: Receipt, tmp_path: Path
) -> None:
    write_receipts(tmp_path / "receipt", [committed])
    arguments = "verify", tmp_path / "receipt", "--model", path, "--json"
    (found,) = json.loads(node(package / "bin" / "intact.mjs", *arguments, expected=4))["receipts"]
    assert (found["checked"], "commitment" in found["detail"]) == (40, True)


def test_a_forged_layer_is_false_where_it_is_chosen(
    check: Check, path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = 1
    with closing(LayerForger(model, forged, 30)) as run:
        receipt = answer(model.on(Engine(run.executor, model.context, prefix_cache=False)))
    monkeypatch.setattr(layers, "LayerRun", lambda model, *_, kept=(): LayerForger(model, forged, 30, kept=kept))
    receipt = commit(model, receipt)
    for layer in range(COUNT):
        nonce = nonce_for(receipt, layer)
        opened = open_layers(model, receipt, nonce)
        expected = "false" if layer == forged else "partial"
        assert check(path, receipt, opened, nonce, 1, expected)[0] == ("layers" if layer == forged else None)


def test_tensors_of_other_layers_are_not_read(
    check: Check, path: Path, model: Model, committed: Receipt, tmp_path: Path
) -> None:
    """One of a layer that is not opened may be anything; one of an opened layer is compared with the model's root."""
    nonce = nonce_for(committed, 1)
    opened = open_layers(model, committed, nonce)
    for layer, expected in ((0, "partial"), (1, "unverifiable"), (2, "partial")):
        file = tmp_path / "altered.gguf"
        data = bytearray(path.read_bytes())
        with open_checkpoint(path) as checkpoint:
            tensor = checkpoint.tensors[f"blk.{layer}.ffn_up.weight"].data
            at = bytes(data).index(tensor.tobytes())
        data[at] ^= 1
        file.write_bytes(data)
        what, _ = check(file, committed, opened, nonce, 1, expected)
        assert what == ("weights" if layer == 1 else None)


def test_what_does_not_fit_is_told(check: Check, path: Path, model: Model, committed: Receipt) -> None:
    nonce, another = nonce_for(committed, 0), nonce_for(committed, 2)
    opened = open_layers(model, committed, nonce)
    assert check(path, committed, opened, another, 1, "unverifiable")[0] == "layers"
    assert check(path, replace(committed, layers=None), opened, nonce, 1, "unverifiable")[0] == "layers"
    root = replace(committed, layers=LayerCommitment(COUNT, bytes(32)))
    assert check(path, root, opened, nonce_for(root, 0), 1, "unverifiable")[0] == "layers"
    roots = (bytes(32), *opened.roots[1:])
    assert check(path, committed, replace(opened, roots=roots), nonce, 1, "false")[0] == "layers"
    rows = {boundary: value + 1 for boundary, value in opened.rows.items()}
    assert "opened rows" in check(path, committed, replace(opened, rows=rows), nonce, 1, "false")[1]


def test_rows_that_no_model_reaches_are_refused(check: Check, path: Path, model: Model, committed: Receipt) -> None:
    for attempt in range(200):  # the digest of the receipt, and with it the choice, follows from the rows
        opened = open_layers(model, committed, nonce := nonce_for(committed, 0))
        rows = {boundary: np.full_like(value, (1 << 61) + 1 + attempt) for boundary, value in opened.rows.items()}
        roots = list(opened.roots)
        for boundary, value in rows.items():
            roots[boundary] = layers.rows_root("sha256", boundary, value)
        assert committed.layers is not None
        lie = replace(committed, layers=replace(committed.layers, root=root_of("sha256", roots)))
        if choose_layers(nonce, lie.digest, COUNT, 1) == (0,):
            break
    found = check(path, lie, replace(opened, receipt=lie.digest, roots=tuple(roots), rows=rows), nonce, 1, "false")
    assert "no model's rows reach" in found[1]


def test_files_that_are_no_opening(package: Path, path: Path, committed: Receipt, model: Model, tmp_path: Path) -> None:
    write_receipts(tmp_path / "receipt", [committed])
    file = tmp_path / "opening"
    open_layers(model, committed, "1").save(file)
    good = file.read_bytes()
    script = package / "bin" / "intact.mjs"
    for bad in (b"", good[:7], good[:-8], good[:200], b"\xff" * 64, good.replace(b"I64", b"F64"), path.read_bytes()):
        file.write_bytes(bad)
        arguments = "verify", tmp_path / "receipt", "--model", path, "--opening", file, "--nonce", "1"
        node(script, *arguments, expected=2)
    assert opening.FORMAT.encode() in good
    node(script, "verify", tmp_path / "receipt", "--model", path, "--nonce", "1", expected=2)
    node(script, "verify", tmp_path / "receipt", "--model", path, "--layers", "1", expected=2)
    file.write_bytes(good)
    opened = "--opening", file, "--nonce", "1", "--tokens", "2"
    node(script, "verify", tmp_path / "receipt", "--model", path, *opened, expected=2)
