"""``intact verify`` of a training receipt."""

import shutil

import pytest

from intact.train import fit
from support.training import examples, settings, tiny_base


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    base = tiny_base(folder)
    fit(base, examples(), settings(parameters={"name": "lora", "rank": 2}), folder / "out", keep_every=1)
    return folder


def test_true_false_partial_and_unverifiable_receipts_have_their_exit_status(intact_command, run, tmp_path):
    model, out = run / "llama.gguf", tmp_path / "out"
    shutil.copytree(run / "out", out)
    receipt = out / "train.receipt"
    done = intact_command("verify", receipt, "--model", model)
    assert done.code == 0
    assert "3 steps replayed" in done.out
    done = intact_command("verify", receipt, "--model", model, "--sample", 2, "--nonce", "n", "--json")
    assert (done.code, done.json["outcome"], done.json["checked"]) == (4, "partial", 2)
    assert done.json["missed"] == pytest.approx(1 / 3)
    moved = tmp_path / "moved.receipt"
    shutil.copy(receipt, moved)
    assert intact_command("verify", moved, "--model", model).code == 3
    assert intact_command("verify", moved, "--model", model, "--data", out / "rows.jsonl").code == 0
    lines = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(lines[::-1]))
    done = intact_command("verify", receipt, "--model", model, "--json")
    assert (done.code, done.json["outcome"]) == (3, "unverifiable")
    (out / "rows.jsonl").write_text("".join(lines))
    receipt.write_bytes(receipt.read_bytes().replace(b'"chain":"', b'"chain":"00', 1))
    assert intact_command("verify", receipt, "--model", model).code == 3


def test_one_training_receipt_is_verified_at_a_time(intact_command, run):
    receipt = run / "out/train.receipt"
    done = intact_command("verify", receipt, receipt, "--model", run / "llama.gguf")
    assert done.code != 0
    assert "one receipt of a training run at a time" in done.err
