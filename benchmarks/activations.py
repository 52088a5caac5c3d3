"""Measure a model's divergence from FP32 arithmetic by profile: the cost of other activation grids, or of sparsity.

    python benchmarks/activations.py smollm2-135m TEXT --profiles int8,int8_row,mxint8,mxfp4 --work DIR
    python benchmarks/activations.py smollm2-135m TEXT --profiles int8+teal50,int8+wina50,int8+random50 --work DIR
    python benchmarks/activations.py smollm2-135m TEXT --specs nvint4,hadamard64+nvint4 --profiles fp32,int4 --work DIR
    python benchmarks/activations.py smollm2-135m TEXT --profiles int8_row,int8_static --calibrate OTHER --work DIR

For each spec (`file`: the original weights) and profile, prints the mean of KL(source in fp32 || model) in nats over
the second halves of the windows, with its 95% interval over windows; then compares neighbours in that order window by
window. Finished rows are kept in the work folder. Profiles with static activations take their input scales from the
text after --calibrate, in windows of 512 tokens.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from shutil import rmtree

import numpy as np

from intact._base.exact import mean
from intact._base.files import write_whole
from intact.checkpoints.formats import open_checkpoint
from intact.models import build_program
from intact.numerics.profiles import parse_profile
from intact.quantizing import quantize
from intact.quantizing.divergence import compare
from intact.quantizing.lab.measure import Lab, LabPlan
from intact.quantizing.logits import window_logits
from intact.quantizing.quantizers import parse_target
from intact.stats.intervals import AMOUNTS, clustered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--profiles", default="int8")
    parser.add_argument("--specs", default="file", help="specs of weights; `file` means the source's own")
    parser.add_argument(
        "--calibrate", type=Path, help="calibration text for specs, transforms and profiles that need one"
    )
    parser.add_argument("--calibration-windows", type=int, default=32)
    parser.add_argument("--source", choices=("file", "permuted", "rotated"), default="file")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    specs, profiles = options.specs.split(","), options.profiles.split(",")
    plan = LabPlan(
        options.model, [spec for spec in specs if spec != "file"] or ["int8-32"], options.text, options.work,
        calibrate=options.calibrate, context=options.context, windows=options.windows, source=options.source,
        calibration_windows=options.calibration_windows,
    )  # fmt: skip
    found = {}
    with Lab(plan, options.threads) as lab:
        for spec in specs:
            for profile in profiles:
                found[spec, profile] = divergences(lab, spec, profile, options)
            if spec != "file":
                lab.drop(str(parse_target(spec)))
    order = sorted(found, key=lambda key: mean(found[key]))
    print(f"{options.model} {options.source}, {options.windows} windows of {options.context} of {options.text.name}")
    for key in found:
        row = clustered(np.array(found[key])[:, None], support=AMOUNTS)
        print(f"{' '.join(key):<44}{row.estimate:>10.5f} [{row.low:.5f}, {row.high:.5f}]")
    for one, other in pairwise(order):
        gap = clustered(np.subtract(found[other], found[one])[:, None])
        tie = "tie: " if gap.low <= 0 else ""
        print(f"{tie}{' '.join(one)} before {' '.join(other)} by {gap.estimate:.3g} [{gap.low:.3g}, {gap.high:.3g}]")


def divergences(lab: Lab, spec: str, profile: str, options: argparse.Namespace) -> list[float]:
    """Return the mean divergence of each window."""
    name = f"{lab.weights[:16]}-{lab.sample.digest[:16]}-{spec.replace('/', '_')}-{profile}.json"
    kept = options.work / "activations" / name
    static = parse_profile(profile).scheme.static
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        folder = lab.source if spec == "file" else lab.model(str(parse_target(spec)))
        if static:
            folder = with_scales(folder, kept.with_suffix(""), options)
        with open_checkpoint(folder) as checkpoint:
            after = window_logits(build_program(checkpoint), lab.sample, profile, options.threads)
            rows = zip(lab._logits(), after, lab._following(), strict=True)
            values = [mean(compare(before, z, following).kl.tolist()) for before, z, following in rows]
        write_whole(kept, json.dumps(values))
        if static:
            rmtree(folder)
    values = json.loads(kept.read_text())
    print(f"  {spec} {profile} {mean(values):.5f}", flush=True)
    return values


def with_scales(model: Path, to: Path, options: argparse.Namespace) -> Path:
    """Write a model again, with input scales from the calibration text."""
    rmtree(to, ignore_errors=True)
    return quantize(
        model, to, "keep", static=True, calibrate=options.calibrate, windows=options.calibration_windows,
        statistics=options.work / "statistics", threads=options.threads,
    ).path  # fmt: skip


if __name__ == "__main__":
    main()
