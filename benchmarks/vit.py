"""Evaluate a vision transformer in integers: accuracy on scikit-learn's digits, also with I-ViT's functions, and speed.

    python benchmarks/vit.py --work DIR                # needs scikit-learn, torch and transformers
    python benchmarks/vit.py --speed --work DIR        # images per second, with DeiT-S's sizes and random weights

Small ViTs are each trained in float32 on two thirds of the 1,797 images of `load_digits` and classify the other third,
so that every image is classified once by a model that has not seen it. The reference is Transformers' own class in
float64 on the same weights. The rows of I-ViT (arXiv 2207.01405) are float64 except for one kind of function, or all
three, from I-ViT (`functions.py`): on integers of as many bits as in its program, or of 16, whose scale is the power of
two required by the range on the training images. Nothing is fine-tuned with them. Intervals of differences are Bonett
and Price's. Folders in DIR are kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from functions import ivit_gelu, ivit_layer_norm, ivit_softmax

import intact
from intact.checkpoints.formats import open_checkpoint
from intact.models.images import cut_patches
from intact.models.program import Program
from intact.models.vit import VisionModel, build_vision_model
from intact.numerics.dequantize import dequantize
from intact.stats.paired import mcnemar

NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "transformers": "transformers"}
PROFILES: dict[str, dict[str, Any]] = {"fp32": {"profile": "fp32"}, "int8": {}, "int8, weights of 4 bits": {"bits": 4}}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
DIGITS = {"image_size": 8, "patch_size": 2, "num_channels": 1, "num_labels": 10}
PIXELS = {"rescale_factor": 1 / 16, "image_mean": [0.5], "image_std": [0.5], "size": {"height": 8, "width": 8}}
DEIT_S = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6}
DOUBLE = "float64, Transformers"
WIDTHS = {"softmax": 8, "gelu": 8, "norm": 16}
"""Input bits of I-ViT's functions in its program (`vit_quant.py`)."""
NAMES = {"softmax": "Shiftmax", "gelu": "ShiftGELU", "norm": "I-LayerNorm"}
Function = Callable[[str, str, np.ndarray], np.ndarray]
"""A function of a kind at a place of the network: softmax of scores, GELU, or a layer norm without gain and bias."""


def exact(kind: str, place: str, x: np.ndarray) -> np.ndarray:
    if kind == "softmax":
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True))
    if kind == "gelu":
        return np.asarray(x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12))


class Ranges(dict[str, float]):
    """The largest magnitude of the inputs of each function, over all passes."""

    def __call__(self, kind: str, place: str, x: np.ndarray) -> np.ndarray:
        self[place] = max(self.get(place, 0.0), float(np.abs(x).max()))
        return exact(kind, place, x)


def rounded(ranges: Ranges, widths: Mapping[str, int], replaced: Collection[str]) -> Function:
    """Return functions on inputs rounded to some bits, scaled by the power of two for their range; `replaced` are
    I-ViT's.
    """

    def function(kind: str, place: str, x: np.ndarray) -> np.ndarray:
        if kind not in widths:
            return exact(kind, place, x)
        most = (1 << widths[kind] - 1) - 1
        bits = max(0, math.floor(math.log2(most / ranges[place])))
        q = np.clip(np.floor(x * 2.0**bits + 0.5), -most, most).astype(np.int64)
        if kind not in replaced:
            return exact(kind, place, q / 2.0**bits)
        if kind == "norm":
            return ivit_layer_norm(q)
        return (ivit_softmax if kind == "softmax" else ivit_gelu)(q, bits)

    return function


def forward(program: Program, rows: np.ndarray, layers: int, heads: int, function: Function) -> np.ndarray:
    """Return float64 logits, (count, classes), for the rows of patches, (count, patches, pixels)."""
    w = {name: dequantize(t.kind, t.data, t.shape).astype(np.float64) for name, t in program.tensors.items()}
    cls, bias = w["token_embd.weight"]
    patches = rows @ w["patch_embd.weight"].T + bias
    x = np.concatenate([np.broadcast_to(cls, (len(rows), 1, len(cls))), patches], axis=1) + w["position_embd.weight"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return function("norm", name, x) * w[name + ".weight"] + w[name + ".bias"]

    def split(x: np.ndarray) -> np.ndarray:
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    for i in range(layers):
        p = f"blk.{i}."
        n = norm(x, p + "attn_norm")
        q, k, v = (split(linear(n, f"{p}attn_{part}")) for part in "qkv")
        weights = function("softmax", p + "attn", q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]))
        x = x + linear((weights @ v).transpose(0, 2, 1, 3).reshape(x.shape), p + "attn_output")
        inner = function("gelu", p + "ffn", linear(norm(x, p + "ffn_norm"), p + "ffn_up"))
        x = x + linear(inner, p + "ffn_down")
    return linear(norm(x[:, 0], "output_norm"), "output")


def save(folder: Path, model: Any, pixels: dict[str, Any]) -> None:
    """Write a model of Transformers with its image preprocessing."""
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))


def train(folder: Path, images: np.ndarray, labels: np.ndarray, seed: int, epochs: int) -> None:
    """Train a ViT in float32 and write its folder, unless it exists."""
    if (folder / "preprocessor_config.json").is_file():
        return
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(seed)
    model = ViTForImageClassification(ViTConfig(**SIZES, **DIGITS, hidden_dropout_prob=0.1)).train()
    x, y = torch.tensor(images / 16 / 0.5 - 1, dtype=torch.float32), torch.tensor(labels)
    steps = epochs * -(-len(x) // 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[some]).logits, y[some]).backward()
            optimizer.step()
            schedule.step()
    save(folder, model, PIXELS)


def reference(folder: Path, images: np.ndarray) -> np.ndarray:
    """Compute logits with Transformers in float64."""
    import torch
    from transformers import ViTForImageClassification

    model = ViTForImageClassification.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa").eval()
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(images / 16 / 0.5 - 1)).logits.numpy())


class Tally:
    """The correctness of answers, their agreement with float64, and the largest distance of logits, over all folds."""

    def __init__(self) -> None:
        self.right: list[bool] = []
        self.same = 0
        self.distance = 0.0

    def add(self, logits: np.ndarray, double: np.ndarray, labels: np.ndarray) -> None:
        self.right += (logits.argmax(axis=1) == labels).tolist()
        self.same += int((logits.argmax(axis=1) == double.argmax(axis=1)).sum())
        self.distance = max(self.distance, float(np.abs(logits - double).max() / np.ptp(double)))

    def row(self, double: Tally) -> str:
        right, beside = sum(self.right), mcnemar(self.right, double.right)
        difference = "" if self is double else f"{beside.difference:+z.2%} ({beside.low:+z.2%} to {beside.high:+z.2%})"
        return f"{right:,} ({right / len(self.right):.2%}) | {difference} | {self.same:,} | {self.distance:.1e}"


def accuracy(work: Path, folds: int, epochs: int) -> None:
    """Print the table of answers."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images[:, None].astype(np.uint8), digits.target
    order = np.random.default_rng(0).permutation(len(labels))
    tallies: dict[str, Tally] = {}
    for fold in range(folds):
        held, folder = np.zeros(len(labels), bool), work / f"digits-{fold}-of-{folds}"
        held[order[fold::folds]] = True
        train(folder, images[~held], labels[~held], fold, epochs)
        own, truth, double = images[held], labels[held], reference(folder, images[held])

        def add(name: str, logits: np.ndarray, double: np.ndarray = double, truth: np.ndarray = truth) -> None:
            tallies.setdefault(name, Tally()).add(logits, double, truth)

        add(DOUBLE, double)
        for name, options in PROFILES.items():
            add(name, intact.load_classifier(folder, threads=1, **options).logits(own))
        model = build_vision_model(open_checkpoint(folder))

        def run(some: np.ndarray, function: Function, model: VisionModel = model) -> np.ndarray:
            layers, heads = SIZES["num_hidden_layers"], SIZES["num_attention_heads"]
            return forward(model.program, cut_patches(some / 16 / 0.5 - 1, model.form), layers, heads, function)

        far = np.abs(run(own, exact) - double).max() / np.ptp(double)
        if far > 1e-9:
            raise SystemExit(f"the formulas of this file differ from Transformers' by {far:.2g} of the range")
        ranges = Ranges()
        run(images[~held], ranges)
        for title, widths in (("8, 8 and 16 bits", WIDTHS), ("16 bits", dict.fromkeys(WIDTHS, 16))):
            add(f"float64, inputs of the functions rounded to {title}", run(own, rounded(ranges, widths, ())))
            for kind, name in NAMES.items():
                if widths is not WIDTHS and widths[kind] == WIDTHS[kind]:
                    continue  # it has a row already
                alone = {kind: widths[kind]}
                add(f"float64 with I-ViT's {name} of {widths[kind]} bits", run(own, rounded(ranges, alone, alone)))
            add(f"float64 with I-ViT's three functions of {title}", run(own, rounded(ranges, widths, widths)))
        print(f"fold {fold + 1} of {folds} is done", file=sys.stderr, flush=True)
    print(
        "| arithmetic | correct answers | difference from float64 | answers equal to float64's "
        "| logit error, relative to their range |"
    )
    print("|---|---|---|---|---|")
    for name, tally in tallies.items():
        print(f"| {name} | {tally.row(tallies[DOUBLE])} |")
    weights = sum(t.data.nbytes for t in model.program.tensors.values()) // 4
    print(f"\n{len(labels):,} images; each model has {weights:,} weights")


def least_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the minimum processor time of some runs, which other programs on the machine hardly affect."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def speed(work: Path, count: int, repeats: int) -> None:
    """Print images per second with DeiT-S's sizes on one thread, with random weights."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.set_num_threads(1)
    folder = work / "deit-s"
    if not (folder / "preprocessor_config.json").is_file():
        torch.manual_seed(0)
        save(folder, ViTForImageClassification(ViTConfig(**DEIT_S, num_labels=1000)), {})
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 224, 224)).astype(np.uint8)
    values = torch.from_numpy(images / 255 / 0.5 - 1)
    print(f"| {count} images of 224 x 224 at once, one thread | images per second | largest logit error |")
    print("|---|---|---|")
    exact = None
    for name, dtype in (("float64", torch.float64), ("float32, PyTorch", torch.float32)):
        model = ViTForImageClassification.from_pretrained(folder, dtype=dtype).eval()
        with torch.inference_mode():
            inputs = values.to(dtype)
            logits = model(inputs).logits.double().numpy()
            exact = logits if exact is None else exact
            if name != "float64":
                seconds = least_seconds(lambda model=model, inputs=inputs: model(inputs), repeats)
                print(f"| {name} | {count / seconds:.1f} | {np.abs(logits - exact).max() / np.ptp(exact):.1e} |")
    for name, options in PROFILES.items():
        classifier = intact.load_classifier(folder, threads=1, **options)
        logits = classifier.logits(images)
        seconds = least_seconds(lambda one=classifier: one.logits(images), repeats)
        far = np.abs(logits - exact).max() / np.ptp(exact)
        print(f"| {name}, tier {classifier.description['tier']} | {count / seconds:.1f} | {far:.1e} |")


def main(arguments: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, help="folder in which models are kept (default: none)")
    p.add_argument("--folds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=40)
    p.add_argument("--speed", action="store_true", help="measure images per second instead of accuracy")
    p.add_argument("--images", type=int, default=5, help="batch size for --speed")
    p.add_argument("--repeats", type=int, default=5)
    a = p.parse_args(arguments)
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SystemExit(f"vit.py needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    with tempfile.TemporaryDirectory() as temporary:
        work = a.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if a.speed:
            speed(work, a.images, a.repeats)
        else:
            accuracy(work, a.folds, a.epochs)


if __name__ == "__main__":
    main()
