"""``intact selftest``: print digests that show whether two machines compute the same results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, note, show

EXAMPLES = """\
Compare your digests with those in the documentation
  intact selftest
The same digests from scalar instructions
  INTACT_ISA=scalar intact selftest
All programs that a GPU can run, compared with the CPU
  intact selftest --executor wgpu
"""


def command(
    executor: Annotated[
        Literal["native", "wgpu"],
        typer.Option("--executor", help="native prints digests; wgpu compares a GPU with the CPU, program by program."),
    ] = "native",
    json: JsonOption = False,
) -> None:
    """Compute digests over all operations and the default model's tokens; exit code 1 if one is wrong."""
    if executor == "wgpu":
        _compare_gpu(json)
        return
    from intact.measure.conformance import EXPECTED, selftest

    digests: Mapping[str, str] = selftest()
    right = all(EXPECTED[name] == digest for name, digest in digests.items())
    if json:
        emit({**digests, "as_documented": right})
    else:
        width = max(len(name) for name in EXPECTED)
        for name, digest in digests.items():
            verdict = "as documented" if digest == EXPECTED[name] else f"WRONG: should be {EXPECTED[name]}"
            show(f"{name:{width}}  {digest}  {verdict}")
        if "tokens" not in digests:
            show(f"{'tokens':{width}}  needs the default model: intact pull")
    if not right:
        raise typer.Exit(1)


def _compare_gpu(json: bool) -> None:
    """Compare the conformance programs on a GPU with the CPU's; exit code 1 if one differs."""
    from intact.executors.gpu.device import open_device
    from intact.measure.conformance import compare_programs

    device, counts = open_device(), dict.fromkeys(("equal", "refused", "different"), 0)
    different: list[str] = []
    for name, verdict in compare_programs("wgpu"):
        counts[verdict] += 1
        if verdict == "different":
            different.append(name)
            note(f"{name}: differs from the CPU")
    if json:
        emit({"device": str(device.adapter), **counts, "names": different})
    else:
        show(f"{device.adapter}: {counts['equal']} programs equal, {counts['different']} different, "
             f"{counts['refused']} with operations that run on CPUs alone")  # fmt: skip
    if different:
        raise typer.Exit(1)
