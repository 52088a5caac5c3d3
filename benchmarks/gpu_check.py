"""Check a GPU against the CPU, then measure its speed: scripts/gpu_check.sh.

    python benchmarks/gpu_check.py [--quick] [--out gpu_check.json] [--minutes 8]

Equality comes first: the check at the start, the conformance programs, then one layer of the shapes of a model of 0.5B
and of one of 8B in several weight formats, with 1, 8 and 64 rows, and with texts of 1,024 and 8,192 positions. Nothing
is downloaded: weights come from SHAKE-128 over their names. Speeds are medians of 5 steps with their minimum and
maximum; a step includes its upload, its submission and the reading of its logits. A long text repeats the pages of a
short one, so its attention reads as many positions without their computation.

Results are written after each part, so that a device that hangs loses nothing: the part that hung is "running". The
exit status is 1 at the first difference, or if the time runs out.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
from common import machine

from intact.executors.base import Executor
from intact.executors.gpu.checking import DeviceMismatchError
from intact.executors.gpu.device import NoDeviceError, adapters, open_device
from intact.executors.gpu.shaders import shaders_digest
from intact.executors.native import NativeExecutor
from intact.executors.wgpu import WgpuExecutor
from intact.measure.bench.shapes import SHAPES, ModelShape, random_checkpoint
from intact.measure.conformance import compare_programs
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.program import Program

PAGE: Final = 32
REPEATS: Final = 5
VOCABULARY: Final = 1024


class CheckPlan(NamedTuple):
    """What is checked.

    Attributes
    ----------
    programs : int or None
        Number of conformance programs; all if None.
    models : tuple of (str, ModelShape, tuple of str)
        Shapes by name, with their weight formats.
    rows : tuple of int
        Rows of the compared steps, consecutive chunks of one text.
    prompt : int
        Rows of the prompt whose products are measured.
    contexts : tuple of int
        Positions of the texts whose attention is measured; multiples of a page.
    """

    programs: int | None
    models: tuple[tuple[str, ModelShape, tuple[str, ...]], ...]
    rows: tuple[int, ...]
    prompt: int
    contexts: tuple[int, ...]


def one_layer(name: str) -> ModelShape:
    """Return a shape cut to one layer and a small vocabulary."""
    return SHAPES[name]._replace(layers=1, vocabulary=VOCABULARY)


SMALL: Final = ModelShape("llama", 1, 256, 512, 4, 2, 64, 512, 1024, 1e4, True)
FULL: Final = CheckPlan(
    programs=None,
    models=(
        ("qwen2.5-0.5b", one_layer("qwen2.5-0.5b"), ("Q4_0", "Q5_0", "Q8_0")),  # 896 columns: no whole blocks of Q4_K
        ("llama-8b", one_layer("llama-8b"), ("Q4_0", "Q4_K", "Q8_0")),
    ),
    rows=(1, 8, 64),
    prompt=256,
    contexts=(1024, 8192),
)
QUICK: Final = CheckPlan(3, (("small", SMALL, ("Q4_0", "Q4_K", "Q8_0")),), (1, 8), 32, (64, 128))


class DifferenceError(Exception):
    """The device computes other bits than the CPU; the message names where."""


class Results:
    """Results that are written to a file at the start and at the end of each part."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self._path, self._all = path, {**facts, "parts": []}
        self._write()

    def _write(self) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps(self._all, indent=1) + "\n", "utf-8")
        fresh.replace(self._path)

    @contextmanager
    def part(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield a mapping for the results of a part; print its outcome."""
        found: dict[str, Any] = {"name": name, "state": "running"}
        self._all["parts"].append(found)
        self._write()
        began = time.perf_counter()
        try:
            yield found
            found["state"] = "done"
        except (DifferenceError, DeviceMismatchError) as error:
            found |= {"state": "different", "difference": str(error)}
            raise DifferenceError(f"{name}: {error}") from error
        except BaseException as error:
            found |= {"state": "failed", "error": f"{type(error).__name__}: {error}"}
            raise
        finally:
            found["seconds"] = round(time.perf_counter() - began, 2)
            self._write()
            shown = {key: value for key, value in found.items() if key not in ("name", "seconds", "state")}
            print(f"{name}: {found['state']} ({found['seconds']} s)  {json.dumps(shown) if shown else ''}", flush=True)


def chunk(position: int, count: int, pages: np.ndarray) -> SequenceChunk:
    """Return a chunk of `count` tokens of the text, from a position on."""
    tokens = (np.arange(position, position + count) * 7919 % SMALL.vocabulary).astype(np.int32)
    return SequenceChunk(position, tokens, pages)


def logits(executor: Executor, one: SequenceChunk) -> np.ndarray:
    """Return a copy of the logits of all rows of a step."""
    return executor.step([one], np.arange(len(one.tokens))).copy()


def require_equal(gpu: Executor, cpu: Executor, one: SequenceChunk, where: str) -> None:
    """Compare the logits of a step.

    Raises
    ------
    DifferenceError
        If they differ.
    """
    got, want = logits(gpu, one), logits(cpu, one)
    if not np.array_equal(got, want):
        count, row = int((got != want).sum()), int(np.flatnonzero((got != want).any(axis=1))[0])
        raise DifferenceError(
            f"{where}: {count:,} of {want.size:,} logits differ from the CPU's, the first in row {row}"
        )


def timed(call: Callable[[], object]) -> dict[str, float]:
    """Return the median, minimum and maximum of the milliseconds of several calls, after one that is not counted."""
    call()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return {"ms": round(median(times), 3), "min_ms": round(min(times), 3), "max_ms": round(max(times), 3)}


class Pair(NamedTuple):
    """A model on the device and on the CPU, with the weights of its matrices that a row multiplies."""

    gpu: WgpuExecutor
    cpu: NativeExecutor
    program: Program
    weights: int


def make_pair(name: str, shape: ModelShape, kind: str, pages: int) -> Pair:
    """Draw the weights and load them on both sides."""
    program = build_program(random_checkpoint(name, kind, shape))
    gpu, cpu = WgpuExecutor(program, page_size=PAGE), NativeExecutor(program, page_size=PAGE)
    for executor in (gpu, cpu):
        executor.reserve_pages(pages)
    q, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    layer = shape.width * (2 * q + 2 * kv + 3 * shape.hidden)
    return Pair(gpu, cpu, program, layer * shape.layers + shape.width * shape.vocabulary)


def repeated(context: int, pages: int) -> np.ndarray:
    """Return the pages of a text with `context` positions before the next: those filled, repeated, and a fresh one."""
    filled = np.arange(context // PAGE) % pages
    return np.append(filled, pages).astype(np.int32)


def check_model(pair: Pair, plan: CheckPlan) -> dict[str, Any]:
    """Compare steps of several numbers of rows, a prompt, and single rows after long texts."""
    filled = plan.prompt // PAGE
    at = 0
    for rows in plan.rows:
        require_equal(pair.gpu, pair.cpu, chunk(at, rows, np.arange(filled, dtype=np.int32)), f"{rows} rows")
        at += rows
    prompt = chunk(0, plan.prompt, np.arange(filled, dtype=np.int32))
    require_equal(pair.gpu, pair.cpu, prompt, f"{plan.prompt} rows")
    for page in range(filled):
        if not np.array_equal(pair.gpu.read_page(page), pair.cpu.read_page(page)):
            raise DifferenceError(f"page {page} of the cache after {plan.prompt} rows")
    for context in plan.contexts:
        one = chunk(context, 1, repeated(context, filled))
        require_equal(pair.gpu, pair.cpu, one, f"a row after {context:,} positions")
    return {"rows": [*plan.rows, plan.prompt], "contexts": list(plan.contexts)}


def measure_model(pair: Pair, plan: CheckPlan) -> dict[str, Any]:
    """Measure one-row steps, a prompt, and one-row steps after long texts; their pages hold the prompt already."""
    filled = plan.prompt // PAGE
    own = np.arange(filled, dtype=np.int32)
    row = timed(lambda: logits(pair.gpu, chunk(0, 1, own)))
    wanted = np.array([plan.prompt - 1])
    prompt = timed(lambda: pair.gpu.step([chunk(0, plan.prompt, own)], wanted))
    found: dict[str, Any] = {
        "weight_bytes": pair.gpu.weight_bytes,
        "one row": row | {"GB/s": round(pair.gpu.weight_bytes / row["ms"] / 1e6, 2)},
        f"prompt of {plan.prompt}": prompt
        | {"G multiply-adds/s": round(pair.weights * plan.prompt / prompt["ms"] / 1e6, 2)},
    }
    for context in plan.contexts:
        one = chunk(context, 1, repeated(context, filled))
        found[f"one row after {context}"] = timed(lambda one=one: logits(pair.gpu, one))  # type: ignore[misc]
    return found


def check_programs(count: int | None) -> dict[str, Any]:
    """Compare the conformance programs.

    Raises
    ------
    DifferenceError
        At the first that differs.
    """
    counts = dict.fromkeys(("equal", "refused"), 0)
    for name, verdict in islice(compare_programs("wgpu"), count):
        if verdict == "different":
            raise DifferenceError(f"the program {name!r} differs from the CPU")
        counts[verdict] += 1
    return counts


def named_operation(program: Program) -> str:
    """Return what the check at the start says of a program: the operation that differs, if it finds it."""
    try:
        WgpuExecutor(program, page_size=PAGE, check=True).close()
    except DeviceMismatchError as error:
        return str(error)
    return "the check at the start finds no difference"


def check_all(results: Results, plan: CheckPlan) -> None:
    """Run all parts in order: equality of everything, then speeds.

    Raises
    ------
    DifferenceError
        At the first difference.
    """
    pages = plan.prompt // PAGE + 1
    with results.part("check at the start"):
        WgpuExecutor(build_program(random_checkpoint("small", "Q4_0", SMALL)), page_size=PAGE, check=True).close()
    with results.part("conformance programs") as found:
        found |= check_programs(plan.programs)
    for measured in (False, True):
        for name, shape, kinds in plan.models:
            for kind in kinds:
                with results.part(f"{'speed' if measured else 'equality'}, {name}, {kind}") as found:
                    pair = make_pair(name, shape, kind, pages)
                    try:
                        found |= measure_model(pair, plan) if measured else check_model(pair, plan)
                    except DifferenceError as error:
                        raise DifferenceError(f"{error}; {named_operation(pair.program)}") from error
                    finally:
                        pair.gpu.close()
                        pair.cpu.close()


def facts(quick: bool) -> dict[str, Any]:
    """Describe the machine, the adapter, its limits, and all adapters."""
    import wgpu

    from intact import __version__

    device = open_device().adapter
    return {
        "adapter": device._asdict() | {"software": device.is_software},
        "adapters": [str(one) for one in adapters()],
        "machine": machine(),
        "intact": __version__,
        "wgpu": wgpu.__version__,
        "shaders": shaders_digest(),
        "quick": quick,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="small shapes and few programs, for devices in software")
    p.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="results (default: gpu_check.json)")
    p.add_argument("--minutes", type=float, default=8, help="time after which the command ends (default: 8)")
    args = p.parse_args(arguments)
    if not args.minutes > 0:
        p.error(f"--minutes must be above 0, got {args.minutes}")
    try:
        about = facts(args.quick)
    except NoDeviceError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{about['adapter']['name']} ({about['adapter']['driver']}, {about['adapter']['backend']})", flush=True)
    faulthandler.dump_traceback_later(60 * args.minutes, exit=True, file=2)  # even if a driver hangs
    try:
        check_all(Results(args.out, about), QUICK if args.quick else FULL)
    except DifferenceError as error:
        print(f"different: {error}", file=sys.stderr)
        return 1
    finally:
        faulthandler.cancel_dump_traceback_later()
    print(f"all equal; results in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
