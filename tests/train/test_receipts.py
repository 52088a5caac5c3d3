"""Training receipts: true ones verify, forged ones are found or named as not provable."""

import json
from dataclasses import replace

import numpy as np
import pytest

from intact._base.errors import IntactError, ParameterError, ReceiptError
from intact.executors.native import available_tiers
from intact.receipts import canonical
from intact.train.examples import TrainExample
from intact.train.loop.supervised import Trainer
from intact.train.receipt.chain import chain
from intact.train.receipt.document import TrainingReceipt, is_training_receipt
from intact.train.replay import choose_steps, verify_training
from intact.train.running import fit, resume
from intact.train.state import StepLink
from support.training import example, examples, settings, tiny_base


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three steps with all states kept: its model, rows, folder and receipt."""
    folder = tmp_path_factory.mktemp("run")
    base = tiny_base(folder)
    done = fit(base, examples(), settings(parameters={"name": "lora", "rank": 2}), folder / "out", keep_every=1)
    return base, examples(), folder / "out", TrainingReceipt.load(done.receipt)


def test_a_true_receipt_verifies_on_another_tier(run):
    base, rows, _, receipt = run
    verdict = verify_training(receipt, base, rows, tier=available_tiers()[-1], gradient_tier="numpy", threads=1)
    assert (verdict.outcome, verdict.checked) == ("true", (1, 2, 3))


def test_a_receipt_is_canonical_and_survives_a_round_trip(run):
    data = canonical.encode(run[3].to_document())
    assert TrainingReceipt.parse(data).to_document() == run[3].to_document()
    assert is_training_receipt(json.loads(data))
    with pytest.raises(ReceiptError, match="canonical"):
        TrainingReceipt.parse(data + b" ")


def test_other_data_and_models_make_a_receipt_unverifiable(run, tmp_path):
    base, rows, _, receipt = run
    assert verify_training(receipt, base, rows[::-1]).outcome == "unverifiable"
    assert verify_training(receipt, base, [*rows, example(9)]).outcome == "unverifiable"
    assert verify_training(receipt, tiny_base(tmp_path, seed=1), rows).outcome == "unverifiable"


def forged_links(receipt: TrainingReceipt):
    """Yield receipts in which one digest of one step is false, with the step and the part."""
    for number in range(len(receipt.links)):
        for part in StepLink._fields:
            for byte in range(0, 32, 2):
                digest = bytearray(getattr(receipt.links[number], part))
                digest[byte] ^= 1 + byte
                links = list(receipt.links)
                links[number] = links[number]._replace(**{part: bytes(digest)})
                yield replace(receipt, links=links), number + 1, part


def test_every_false_digest_of_a_step_is_found_and_named(run, monkeypatch):
    """144 forgeries whose chains are recomputed. All replay the same true steps, which are computed only once."""
    base, rows, _, receipt = run
    real, known = Trainer.step, {}

    def step(self, state):
        if state.step not in known:
            known[state.step] = real(self, state)
        return known[state.step]

    monkeypatch.setattr(Trainer, "step", step)
    count = 0
    for forged, number, part in forged_links(receipt):
        read = TrainingReceipt.parse(canonical.encode(forged.to_document()))  # well formed: only replay finds it
        verdict = verify_training(read, base, rows)
        assert (verdict.outcome, verdict.step, verdict.part) == ("false", number, part)
        count += 1
    assert count == 144


CHANGES = [
    *((("settings", name), value) for name, value in (
        ("rate", "1/50"), ("seed", 1), ("batch", 1), ("clip", "1/2"), ("clip", None), ("steps", 4), ("bits", 4),
        ("profile", "fp32"), ("steps", 3_000), ("rate", "1/99"), ("seed", 77), ("batch", 3),
    )),
    *((("settings", "parameters", name), value) for name, value in (
        ("rank", 3), ("alpha", "2"), ("targets", "attn_q"), ("layers", 1), ("version", 2), ("name", "vector"),
    )),
    *((("settings", "optimiser", name), value) for name, value in (
        ("beta1", "1/2"), ("beta2", "1/2"), ("epsilon", "1/2"), ("decay", "1/2"), ("name", "lion"), ("more", 1),
    )),
    *((("settings", "schedule", name), value) for name, value in (("warmup", 2), ("name", "linear"), ("name", "no"))),
    *((("settings", "loss", name), value) for name, value in (("version", 0), ("name", "distil"))),
    *((("data", name), value) for name, value in (("rows", 3), ("root", "00" * 32), ("order", "sorted"), ("root", 1))),
    *((("trainable", name), value) for name, value in (("root", "11" * 32), ("shapes", {}), ("root", None))),
    *((("numerics", name), value) for name, value in (("training", "2"), ("forward", "0"))),
    *((("base", name), value) for name, value in (("weights", "22" * 32), ("tokenizer", "33" * 32), ("tensors", 1))),
    *(((name,), value) for name, value in (("version", 2), ("format", "x"), ("teacher", {}), ("more", 1))),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_a_changed_header_is_never_true(run, path, value):
    """A forger recomputes chain and result; the header then does not fit the steps, the model or itself."""
    base, rows, _, receipt = run
    document = json.loads(canonical.encode(receipt.to_document()))
    at = document["header"]
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    name = document["header"]["settings"]["hash"]
    start = canonical.digest(name, canonical.encode(document["header"]))
    document["result"]["chain"] = chain(name, start, receipt.links).hex()
    try:
        forged = TrainingReceipt.parse(canonical.encode(document))
    except IntactError:
        return
    assert verify_training(forged, base, rows).outcome in ("false", "unverifiable", "partial")
    if path != ("settings", "steps"):
        assert verify_training(forged, base, rows).outcome != "partial"


def test_sources_and_held_out_losses_are_claims_that_no_verdict_depends_on(run):
    """Listed in docs/spec/training_receipts.md as not provable."""
    base, rows, _, receipt = run
    held = replace(receipt, held=[(3, 1, 1)])
    assert verify_training(held, base, rows).outcome == "true"


def test_fewer_steps_than_stated_are_partial_and_more_are_refused(run):
    base, rows, _, receipt = run
    short = replace(receipt, links=receipt.links[:2])
    verdict = verify_training(short, base, rows)
    assert (verdict.outcome, verdict.checked) == ("partial", (1, 2))
    long = replace(receipt, links=[*receipt.links, receipt.links[0]])
    with pytest.raises(ReceiptError, match="at most 3"):
        TrainingReceipt.parse(canonical.encode(long.to_document()))


def test_sampled_steps_are_partial_and_state_the_chance_of_missing_a_false_one(run):
    base, rows, out, receipt = run
    verdict = verify_training(receipt, base, rows, sample=2, nonce="n", states=out / "states")
    assert (verdict.outcome, len(verdict.checked), float(verdict.missed)) == ("partial", 2, pytest.approx(1 / 3))
    assert all(0 < size <= 1 for size in verdict.displacements.values())
    assert len(verdict.displacements) == 3
    assert choose_steps(receipt, "n", 2, [1, 2, 3]) == list(verdict.checked)
    assert {tuple(choose_steps(receipt, str(n), 1, [1, 2, 3])) for n in range(20)} == {(1,), (2,), (3,)}
    with pytest.raises(ParameterError, match="nonce"):
        verify_training(receipt, base, rows, sample=2)


def test_foreign_weights_spliced_into_the_last_step_are_found_by_their_displacement(run, tmp_path):
    from intact.train.receipt.chain import state_root
    from intact.train.replay import _Kept
    from intact.train.running import keep_state

    base, rows, out, receipt = run
    state = _Kept(receipt, out / "states").load(3)
    foreign = {name: values + np.float32(1) for name, values in state.tensors.items()}
    root = state_root("sha256", 3, foreign, state.moments)
    forged = replace(receipt, links=[*receipt.links[:2], receipt.links[2]._replace(state=root)])
    for step in (1, 2):
        keep_state(tmp_path, _Kept(receipt, out / "states").load(step))
    keep_state(tmp_path, replace(state, tensors=foreign))
    nonce = next(str(n) for n in range(50) if choose_steps(forged, str(n), 1, [1, 2, 3]) != [3])
    verdict = verify_training(forged, base, rows, sample=1, nonce=nonce, states=tmp_path / "states")
    assert verdict.outcome == "false"
    assert "times as far as true steps can" in verdict.reason


def test_resume_refuses_other_data_models_and_damaged_states(run, tmp_path):
    import shutil

    base, rows, out, _ = run
    folder = tmp_path / "copy"
    shutil.copytree(out, folder)
    with pytest.raises(ParameterError, match="other data"):
        resume(folder, base, rows[::-1])
    with pytest.raises(ParameterError, match="another model"):
        resume(folder, tiny_base(tmp_path, seed=1), rows)
    beyond = TrainExample(np.array([1, base.program.vocabulary]), np.array([0, 1]))
    with pytest.raises(ParameterError, match="row 0 has a target beyond the model's vocabulary"):
        resume(folder, base, rows, held=[beyond])
    file = next(folder.glob("state-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(IntactError, match="damaged"):
        resume(folder, base, rows)
    with pytest.raises(ParameterError, match="already exists"):
        fit(base, rows, settings(), out)


@pytest.mark.parametrize(
    ("tokens", "weights"),
    [([1], [0]), ([1, 2], [0]), ([1, 2], [1, 1]), ([1, 2], [0, 0]), ([1, 2], [0, -1]), ([-1, 2], [0, 1]),
     ([1.5, 2], [0, 1]), ([1, 2], [0, 1 << 17])],
)  # fmt: skip
def test_malformed_examples_are_refused(tokens, weights):
    with pytest.raises(ParameterError):
        TrainExample(np.array(tokens), np.array(weights))
