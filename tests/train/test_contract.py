"""A run has the same bits however its work is divided, ordered, interrupted or accelerated."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from intact.executors.native import available_tiers
from intact.train.arithmetic.products import tiers
from intact.train.base import Base
from intact.train.loop.supervised import Trainer
from intact.train.receipt.document import TrainingReceipt
from intact.train.running import TrainingInterrupted, fit, open_trained, resume
from support.training import examples, labelled, pairs, settings, tiny_base

CASES = {
    "lora": ("lora", "cross_entropy", examples),
    "full": ("full", "cross_entropy", examples),
    "vector": ("vector", "cross_entropy", examples),
    "head": ("head", "cross_entropy", labelled),
    "dpo": ("lora", "preference", pairs),
    "ipo of whole models": ("full", {"name": "preference", "kind": "ipo"}, pairs),
}


def run(base: Base, case: str = "lora", steps: int = 3, profile: str = "int8", optimiser: str = "adamw", **how):
    """Return the links of a run."""
    parameters, loss, make = CASES[case]
    chosen = settings(parameters=parameters, loss=loss, profile=profile, optimiser=optimiser, steps=steps)
    trainer = Trainer(base, make(), chosen, **how)
    state = trainer.start()
    for _ in range(steps):
        state = trainer.step(state).state
    trainer.close()
    return state.links


@pytest.mark.parametrize("profile", ["int8", "fp32"])
@pytest.mark.parametrize("case", CASES)
def test_threads_parts_order_and_tiers_change_no_bit(tmp_path, case, profile):
    base = tiny_base(tmp_path)
    first = run(base, case, profile=profile, threads=1)
    assert run(base, case, profile=profile, threads=2, parts=2) == first
    assert run(base, case, profile=profile, parts=3, arrange=lambda order: order[::-1]) == first
    for tier in available_tiers():
        assert run(base, case, 1, profile=profile, tier=tier) == first[:1]
    for tier in tiers():
        assert run(base, case, 1, profile=profile, gradient_tier=tier) == first[:1]


@pytest.mark.parametrize("optimiser", ["adamw", "lion", "momentum", "muon"])
def test_optimisers_give_the_same_bits_with_every_tier(tmp_path, optimiser):
    base = tiny_base(tmp_path)
    found = {tuple(run(base, steps=2, optimiser=optimiser, gradient_tier=tier)) for tier in tiers()}
    assert len(found) == 1


def test_the_int8_gradient_has_the_same_bits_with_every_tier_and_is_close_to_that_of_fp32(tmp_path):
    base, rows = tiny_base(tmp_path), examples()
    sums = {}
    for gradient, own in (("fp32", [None]), ("int8", [*available_tiers(), "numpy"])):
        for tier in own:
            trainer = Trainer(base, rows, settings(gradient=gradient), gradient_tier=tier)
            state = trainer.start()
            for name, values in state.tensors.items():
                values[:] = np.random.default_rng(len(name)).standard_normal(values.shape) / 16
            found = trainer.gradient(state, [0, 1], 20).total.tensors
            sums.setdefault(gradient, []).append(np.concatenate([found[name].ravel() for name in sorted(found)]))
            trainer.close()
    exact, *_ = sums["fp32"]
    assert len({one.tobytes() for one in sums["int8"]}) == 1
    a, b = exact.astype(float), sums["int8"][0].astype(float)
    assert 0.99 < a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 1


def test_the_gradient_of_a_batch_is_the_sum_of_its_workers_parts(tmp_path):
    base, rows = tiny_base(tmp_path), examples()
    trainer = Trainer(base, rows, settings(batch=4))
    state = trainer.start()
    whole = trainer.gradient(state, [0, 1, 2, 3], 50).total
    parts = [trainer.gradient(state, own, 50).total for own in ([3], [1, 0], [2])]
    for part in parts[1:]:
        parts[0].merge(part)
    assert whole.tensors.keys() == parts[0].tensors.keys()
    assert all(np.array_equal(whole.tensors[name], parts[0].tensors[name]) for name in whole.tensors)
    assert any(values.any() for values in whole.tensors.values())
    trainer.close()


def test_a_run_that_was_interrupted_resumes_with_the_same_bits(tmp_path):
    base, rows, chosen = tiny_base(tmp_path), examples(), settings(steps=4, held_every=2)
    whole = fit(base, rows, chosen, tmp_path / "whole", held=rows[:1])

    def stop(progress):
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match=r"after step 2.*resume"):
        fit(base, rows, chosen, tmp_path / "parts", held=rows[:1], on_step=stop)
    assert len(TrainingReceipt.load(tmp_path / "parts/train.receipt").links) == 2
    again = resume(tmp_path / "parts", base, held=rows[:1])
    assert again.receipt.read_bytes() == whole.receipt.read_bytes()
    assert len((tmp_path / "parts/history.jsonl").read_text().splitlines()) == 4
    assert open_trained(tmp_path / "parts").state.links == whole.state.links


KILLED = """
import os, sys
from intact.train.running import fit
from support.training import examples, settings
def die(progress):
    if progress.step == 3:
        os.kill(os.getpid(), 9)
fit(sys.argv[1], examples(), settings(steps=4, save_every=2), sys.argv[2], on_step=die)
"""


def test_a_killed_run_continues_from_its_last_whole_state_with_the_same_bits(tmp_path):
    base, chosen = tiny_base(tmp_path), settings(steps=4, save_every=2)
    whole = fit(base, examples(), chosen, tmp_path / "whole")
    out = tmp_path / "killed"
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(base.path), str(out)], env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert done.returncode == -9
    assert open_trained(out).state.step == 2
    (out / "state-9.safetensors").write_bytes(b"half a stat")  # as if killed while writing
    again = resume(out, base, examples())
    assert again.receipt.read_bytes() == whole.receipt.read_bytes()
    assert [line.split(",")[0] for line in (out / "history.jsonl").read_text().splitlines()] == [
        f'{{"step": {step}' for step in range(1, 5)
    ]


def test_the_loss_falls(tmp_path):
    rows = examples()[:2]
    for parameters, rate in (("lora", "2e-2"), ("full", "1e-2"), ("vector", "1e-1")):
        chosen = settings(parameters=parameters, rate=rate, steps=8)
        seen: list[float] = []
        out = tmp_path / parameters
        fit(tiny_base(tmp_path), rows, chosen, out, on_step=lambda p, seen=seen: seen.append(p.loss))
        assert seen[-1] < seen[0] - 0.5


def test_progress_reports_the_share_of_served_codes_that_changed(tmp_path):
    seen: list[float] = []
    for rate in ("1e-2", "1e-9"):
        fit(
            tiny_base(tmp_path),
            examples()[:2],
            settings(rate=rate, steps=2),
            tmp_path / rate,
            on_step=lambda progress: seen.append(progress.changed),
        )
    assert all(0 < share < 1 for share in seen[:2])
    assert seen[3] < seen[1] / 2  # a rate far below an adapter's 8-bit step


def test_the_trained_model_is_the_one_that_is_served(tmp_path):
    """An adapter read back as the engine's own computes the logits that training saw."""
    from intact.models.adapters import read_adapter
    from support.gguf_writer import write_gguf

    base, rows = tiny_base(tmp_path), examples()
    done = fit(base, rows, settings(), tmp_path / "run")
    tensors = {}
    for name, (down, up) in done.adapter().changes.items():
        for half, values in (("a", down), ("b", up)):
            tensors[f"{name}.lora_{half}"] = ("F32", values.shape, values.astype("<f4").tobytes())
    metadata = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"}
    file = write_gguf(tmp_path / "lora.gguf", metadata | {"adapter.lora.alpha": 8.0}, tensors)
    served = read_adapter(file, base.checkpoint, base.program)
    for name, (down, up) in done.adapter().changes.items():
        assert np.array_equal(served.changes[name][0], down)
        assert np.array_equal(served.changes[name][1], up)
