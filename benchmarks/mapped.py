"""Models larger than a cap of memory: tokens a second beside the disk's limit, and bytes read a token.

    python benchmarks/mapped.py [--folder DIR] [--tokens 32] [--share 0.5] [--models dense uniform zipf]

Three models with random weights in Q4_0 are made in a folder, of some 200 MB each: a dense one; a mixture whose router
uses its 32 experts about equally; the same with biases of the router that fall as Zipf's law has it. Each writes tokens
greedily, in one stream without drafts: with all weights in memory, and under a cap of a share of them, with dropped
pages left to the system's cache, and with a cache that forgets them, so that each is read from the disk again. The
disk's limit is the rate at which the file is read from its start to its end, cold, in pieces of 8 MB by two threads.
Bytes read are those of /proc/self/io.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from common import machine

import intact
from intact.bench import shapes
from intact.bench.shapes import ModelShape, random_checkpoint, write_random
from intact.executors.weight_store import packed_folder
from intact.formats import Checkpoint, Tensor

DENSE: Final = ModelShape("llama", 22, 1024, 4096, 16, 4, 64, 4096, 4096, 1e4, False)
MIXTURE: Final = ModelShape("gpt-oss", 6, 768, 768, 12, 4, 64, 4096, 4096, 1e4, False, 32, 4, 768)
MODELS: Final = {"dense": DENSE, "uniform": MIXTURE, "zipf": MIXTURE}
PIECE: Final = 8 << 20


def make(name: str, folder: Path) -> Path:
    """Write a model unless it is there."""
    path = folder / f"mapped-{name}.gguf"
    if not path.exists():
        with _Known(name):
            checkpoint = random_checkpoint(name, "Q4_0")
        write_random(_with_router(checkpoint, name == "zipf"), path)
    return path


class _Known:
    """The shape of one of these models among those that `random_checkpoint` knows, for a moment."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        shapes.SHAPES[self.name] = MODELS[self.name]

    def __exit__(self, *_: object) -> None:
        del shapes.SHAPES[self.name]


def _with_router(checkpoint: Checkpoint, skewed: bool) -> Checkpoint:
    """Return the model with other biases of its routers: zero, or falling with the logarithm of the rank."""
    tensors = dict(checkpoint.tensors)
    for name, tensor in tensors.items():
        if name.endswith("ffn_gate_inp.bias"):
            (count,) = tensor.shape
            order = np.random.default_rng(len(name) + int(name.split(".")[1])).permutation(count)
            biases = -2 * np.log1p(order) if skewed else np.zeros(count)
            tensors[name] = Tensor(name, "F32", tensor.shape, biases.astype("<f4").view(np.uint8))
    return Checkpoint(checkpoint.path, "gguf", checkpoint.metadata, tensors)


def forget(file: Path) -> None:
    """Have a file leave the system's cache."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_rate(file: Path) -> float:
    """Return the bytes a second at which a file is read cold: the best of three times."""
    rates = []
    for _ in range(3):
        forget(file)
        size = file.stat().st_size
        with file.open("rb", buffering=0) as opened, ThreadPoolExecutor(2) as pool:
            began = time.perf_counter()
            for _ in pool.map(lambda at: os.pread(opened.fileno(), PIECE, at), range(0, size, PIECE)):
                pass
            rates.append(size / (time.perf_counter() - began))
    return max(rates)


def bytes_read() -> int:
    """Return the bytes that this process has had read from disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def measure(path: Path, tokens: int, cap: int | None, cold: bool) -> dict[str, Any]:
    """Return the tokens a second of a greedy text, and the bytes read for each."""
    with intact.load(path, weights_memory=cap, drafter="off", prefix_cache=False) as model:
        if cold:
            model.executor.drop_caches(True)  # type: ignore[attr-defined]
            forget(next(packed_folder().glob("*.weights")))
        prompt = [int(t) for t in np.random.default_rng(1).integers(300, 2000, 8)]
        model.generate([prompt], max_tokens=4, ignore_eos=True)
        before, began = bytes_read(), time.perf_counter()
        ((answer,),) = model.generate([prompt], max_tokens=tokens, ignore_eos=True)
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "rate": tokens / seconds,
            "read": (bytes_read() - before) / tokens,
            "weights": model.info()["weight_bytes"],
            "tokens": list(answer.tokens),
        }


def rounds(names: list[str], folder: Path, tokens: int, share: float) -> Iterator[Mapping[str, Any]]:
    """Yield the measurements of each model, one setting after the other."""
    for name in names:
        path = make(name, folder)
        whole = measure(path, tokens, None, False)
        cap = int(share * whole["weights"])
        for file in packed_folder().glob("*.weights"):
            file.unlink()
        began = time.perf_counter()
        intact.load(path, weights_memory=cap).close()
        first = time.perf_counter() - began
        time.sleep(2.5)  # until a file that has changed is trusted
        intact.load(path, weights_memory=cap).close()
        began = time.perf_counter()
        intact.load(path, weights_memory=cap).close()
        loads = {"first_load": first, "load": time.perf_counter() - began}
        limit = disk_rate(next(packed_folder().glob("*.weights")))
        for setting, found in (
            ("in memory", whole),
            ("capped, cache kept", measure(path, tokens, cap, False)),
            ("capped, cold", measure(path, tokens, cap, True)),
        ):
            if found["tokens"] != whole["tokens"]:
                raise SystemExit(f"{name}, {setting}: other tokens than with all weights in memory")
            facts = {"model": name, "setting": setting, "cap": cap, "disk": limit, **loads}
            yield facts | {key: value for key, value in found.items() if key != "tokens"}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", type=Path, help="where models are made, and kept if it is given")
    p.add_argument("--tokens", type=int, default=32)
    p.add_argument("--share", type=float, default=0.5, help="the cap as a share of the packed weights")
    p.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="intact-mapped-", dir=args.folder) as scratch:
        os.environ["INTACT_HOME"] = scratch
        found = list(rounds(args.models, args.folder or Path(scratch), args.tokens, args.share))
    if args.json:
        print(json.dumps({"machine": machine(), "rounds": found}, indent=2))
        return
    print("| model | weights, MB | cap, MB | setting | tokens/s | MB read a token | disk's limit, MB/s | share of it |")
    print("|---|---|---|---|---|---|---|---|")
    for r in found:
        cap = "" if r["setting"] == "in memory" else f"{r['cap'] / 1e6:.0f}"
        used = f"{r['read'] * r['rate'] / r['disk']:.0%}" if r["setting"].endswith("cold") else ""
        print(
            f"| {r['model']} | {r['weights'] / 1e6:.0f} | {cap} | {r['setting']} | {r['rate']:.1f} "
            f"| {r['read'] / 1e6:.1f} | {r['disk'] / 1e6:.0f} | {used} |"
        )
    for r in found:
        if r["setting"] == "in memory":
            print(f"\n{r['model']}: first load {r['first_load']:.2f} s, later {r['load']:.2f} s", end="")
    print()


if __name__ == "__main__":
    main()
