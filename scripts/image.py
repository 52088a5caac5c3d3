#!/usr/bin/env python3
"""Write container images of the server with the default model inside, as OCI archives, without Docker.

    scripts/image.py --wheel WHEEL --model FILE [--arch amd64] [--arch arm64] [--out dist]

An image speaks Ollama's and OpenAI's APIs and can replace Ollama's image (docs/containers.md). It consists of four
layers: a small Debian that mmdebstrap extracts, the packages that the server requires, intact, and the model. No
program of another architecture is run except its ldconfig, under qemu-user-static. The same inputs give the same bytes.

Needs mmdebstrap, Python 3.11 as in Debian 12, and a wheel for each architecture (scripts/wheels.py).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "image"
LARGEST = 250_000_000
"""Maximum size of an image in bytes, compressed."""

sys.path.insert(0, str(ROOT / "scripts"))
sys.path.append(str(ROOT / "src"))  # behind an installation, which has the extension
from oci_image import trees  # noqa: E402
from oci_image.archive import Image, write_archive  # noqa: E402
from oci_image.layers import Layer, write_layer  # noqa: E402
from oci_image.settings import HOME, USER, Facts  # noqa: E402

from intact.checkpoints.catalogue import CATALOGUE, DEFAULT  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", action="append", type=Path, required=True, help="wheel; one for each architecture")
    parser.add_argument("--model", type=Path, required=True, help=f"GGUF file of {DEFAULT}")
    parser.add_argument("--arch", action="append", choices=trees.MACHINES, help="architecture (default: amd64)")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="output folder (default: dist)")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="versions for pip")
    options = parser.parse_args()
    check_model(options.model)
    architectures = options.arch or ["amd64"]
    wheels = {architecture: wheel_for(options.wheel, architecture) for architecture in architectures}
    version = wheels[architectures[0]].name.split("-")[1]
    options.out.mkdir(parents=True, exist_ok=True)
    model = model_layer(options.model)
    images = []
    for architecture in architectures:
        layers = (*system_layers(architecture, wheels[architecture], options.constraints), model)
        images.append(Image(architecture, layers, facts(version)))
        print_sizes(images[-1])
        save(options.out / f"intact-{version}-{architecture}.oci.tar", images[-1:], version)
    if len(images) > 1:
        save(options.out / f"intact-{version}.oci.tar", images, version)


def check_model(path: Path) -> None:
    """Raise unless the file is the default model."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if (path.name, found) != (CATALOGUE[DEFAULT].file, CATALOGUE[DEFAULT].sha256):
        wanted = CATALOGUE[DEFAULT]
        raise SystemExit(f"image: {path} has SHA-256 {found}; expected {wanted.file} with {wanted.sha256}")


def wheel_for(wheels: Sequence[Path], architecture: str) -> Path:
    """Return the wheel for an architecture and the image's Python."""
    machine, tag = trees.MACHINES[architecture], f"-cp{trees.VERSION[0]}{trees.VERSION[1]}-"
    found = [wheel for wheel in wheels if tag in wheel.name and wheel.stem.endswith(machine)]
    if len(found) != 1:
        given = ", ".join(wheel.name for wheel in wheels)
        raise SystemExit(f"image: {architecture} needs one wheel for {tag.strip('-')} and {machine}; got {given}")
    return found[0].resolve(strict=True)


def facts(version: str) -> Facts:
    """Return what the image's labels state; its time is that of the commit, or $SOURCE_DATE_EPOCH."""
    commit, seconds = subprocess.run(
        ["git", "log", "-1", "--format=%H %ct"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", seconds))))
    entry = CATALOGUE[DEFAULT]
    return Facts(version, commit, DEFAULT, str(entry.sha256), entry.licence, created)


def model_layer(model: Path) -> Layer:
    """Return the layer of the model, which is the same for all architectures."""
    WORK.mkdir(parents=True, exist_ok=True)
    trees.build_model(WORK / "model", model, DEFAULT, CATALOGUE[DEFAULT].licence)
    return write_layer(f"{DEFAULT}, {CATALOGUE[DEFAULT].licence}", WORK / "model", WORK / "model.tar.gz", owner)


def system_layers(architecture: str, wheel: Path, constraints: Path) -> list[Layer]:
    """Return the layers of Debian, of the required packages, and of intact."""
    folder = WORK / architecture
    folder.mkdir(parents=True, exist_ok=True)
    debian, packages, own = (folder / name for name in ("debian", "packages", "intact"))
    trees.build_debian(debian, architecture)
    trees.build_packages((packages, own), wheel, architecture, constraints)
    trees.add_programs(own)
    trees.compile_python(debian, ["usr/lib/python3", f"usr/lib/python{trees.VERSION[0]}.{trees.VERSION[1]}"])
    for tree in (packages, own):
        trees.compile_python(tree, [trees.SITE])
    titles = {f"Debian {trees.RELEASE} with Python": debian, "required packages": packages, "the server": own}
    return [write_layer(title, tree, folder / f"{tree.name}.tar.gz") for title, tree in titles.items()]


def owner(path: PurePosixPath) -> int:
    """Return the user that owns a path in the model's layer: the server itself below its home."""
    return USER if PurePosixPath("/", path).is_relative_to(HOME) else 0


def print_sizes(image: Image) -> None:
    """Print what takes the space; raise if an image is too large."""
    for layer in image.layers:
        megabytes = f"{layer.size / 1e6:7.1f} MB, unpacked {layer.unpacked / 1e6:7.1f} MB"
        print(f"image: {image.architecture} {layer.title:32} {megabytes}", flush=True)
    print(f"image: {image.architecture} {'all':32} {image.size / 1e6:7.1f} MB", flush=True)
    if image.size > LARGEST:
        raise SystemExit(f"image: {image.size:,} bytes for {image.architecture}; at most {LARGEST:,} are allowed")


def save(path: Path, images: Sequence[Image], version: str) -> None:
    """Write an archive, and print its name and digest."""
    write_archive(path, images, f"intact:{version}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"image: wrote {path} ({path.stat().st_size / 1e6:.1f} MB, sha256:{digest})", flush=True)


if __name__ == "__main__":
    main()
