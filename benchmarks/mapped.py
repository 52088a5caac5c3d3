"""Measure a model larger than a memory cap: tokens per second against the disk's limit, and bytes read per token.

    python benchmarks/mapped.py [--folder DIR] [--tokens 32] [--share 0.5]

A dense model with random weights in Q4_0, of about 200 MB, is written to a folder. It processes random tokens one per
step, like a single stream: with all weights in memory; under a cap of a share of them, with dropped pages left to the
system's cache; and with evicted caches, so that each dropped page is read from the disk again. The disk's limit is the
rate at which the file is read from start to end, cold, in pieces of 8 MB by two threads. Bytes read come from
/proc/self/io.
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
from intact.executors.weight_store import packed_folder
from intact.measure.bench.shapes import ModelShape, random_checkpoint, write_random

DENSE: Final = ModelShape("llama", 22, 1024, 4096, 16, 4, 64, 4096, 4096, 1e4, False)
PIECE: Final = 8 << 20


def make(folder: Path) -> Path:
    """Write the model if it does not exist."""
    path = folder / "mapped.gguf"
    if not path.exists():
        write_random(random_checkpoint("mapped", shape=DENSE), path)
    return path


def forget(file: Path) -> None:
    """Evict a file from the system's cache."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def disk_rate(file: Path) -> float:
    """Return the bytes per second of reading a file cold: the best of three attempts."""
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
    """Return the bytes that this process has caused to be read from disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def measure(path: Path, tokens: int, cap: int | None, cold: bool) -> dict[str, Any]:
    """Return the tokens per second of a greedy text, and the bytes read per token."""
    with intact.load(path, weights_memory=cap, chunk=1, drafter="off", prefix_cache=False) as model:
        if cold:
            model.executor.drop_caches(True)  # type: ignore[attr-defined]
            forget(next(packed_folder().glob("*.weights")))
        text = [int(t) for t in np.random.default_rng(1).integers(300, 4000, tokens + 8)]
        model.generate([text[:8]], max_tokens=1)
        before, began = bytes_read(), time.perf_counter()
        ((answer,),) = model.generate([text[8:]], max_tokens=1, ignore_eos=True)
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "rate": tokens / seconds,
            "read": (bytes_read() - before) / tokens,
            "weights": model.info()["weight_bytes"],
            "tokens": list(answer.tokens),
        }


def rounds(folder: Path, tokens: int, share: float) -> Iterator[Mapping[str, Any]]:
    """Yield the measurements, one setting after the other."""
    path = make(folder)
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
            raise SystemExit(f"{setting}: its tokens differ from those with all weights in memory")
        facts = {"setting": setting, "cap": cap, "disk": limit, **loads}
        yield facts | {key: value for key, value in found.items() if key != "tokens"}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", type=Path, help="folder for models, which are kept if it is given")
    p.add_argument("--tokens", type=int, default=32)
    p.add_argument("--share", type=float, default=0.5, help="memory cap as a share of the packed weights")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="intact-mapped-", dir=args.folder) as scratch:
        os.environ["INTACT_HOME"] = scratch
        found = list(rounds(args.folder or Path(scratch), args.tokens, args.share))
    if args.json:
        print(json.dumps({"machine": machine(), "rounds": found}, indent=2))
        return
    print("| weights, MB | cap, MB | setting | tokens/s | MB read a token | disk's limit, MB/s | share of it |")
    print("|---|---|---|---|---|---|---|")
    for r in found:
        cap = "" if r["setting"] == "in memory" else f"{r['cap'] / 1e6:.0f}"
        used = f"{r['read'] * r['rate'] / r['disk']:.0%}" if r["setting"].endswith("cold") else ""
        print(
            f"| {r['weights'] / 1e6:.0f} | {cap} | {r['setting']} | {r['rate']:.1f} "
            f"| {r['read'] / 1e6:.1f} | {r['disk'] / 1e6:.0f} | {used} |"
        )
    print(f"\nfirst load {found[0]['first_load']:.2f} s, later {found[0]['load']:.2f} s")


if __name__ == "__main__":
    main()
