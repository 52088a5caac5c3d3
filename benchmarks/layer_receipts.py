"""Print the cost of committing a receipt to layers, and of checking it with one opened layer.

Costs are processor time of this process, the minimum of several repeats; with one thread (--threads 1) this is the time
on an idle machine. The model is loaded beforehand; reading and packing an opened layer is part of its check.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import common

import intact
from intact.receipts.identity import digests_of
from intact.receipts.layers import layer_count
from intact.receipts.opening import check as check_layers
from intact.receipts.opening import commit, open_layers
from receipts import PROMPT, SAMPLED, check, least

NONCE = "a nonce"


class Result(NamedTuple):
    """Processor seconds for one answer, and the bytes of an opening of one layer."""

    model: str
    layers: int
    positions: int
    verified: float
    committed: float
    checked: float
    opening_bytes: int


def measure(path: Path, tokens: int, threads: int, repeats: int) -> Result:
    model = intact.load(path, threads=threads, drafter="off", prefix_cache=False)
    digests_of(model)  # which reads the weights once
    asked = {"max_tokens": tokens, "receipt": True, "seed": 1, **SAMPLED}
    receipt = model.generate(PROMPT, **asked)[0][0].receipt
    with_layers = commit(model, receipt)
    opening = open_layers(model, with_layers, NONCE)

    def check_one() -> None:
        verdict = check_layers(model, with_layers, opening, NONCE)
        assert verdict.outcome == "partial", verdict

    times = least(repeats, lambda: check(model, [receipt]), lambda: commit(model, receipt), check_one)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "opening"
        opening.save(file)
        size = file.stat().st_size
    positions = len(receipt.header.request.prompt) + receipt.count - 1
    return Result(path.name, layer_count(model), positions, *times, size)


def main() -> None:
    p = common.parser(__doc__, text=False)
    p.add_argument("--tokens", type=int, default=256, help="number of tokens of the answer")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--repeats", type=int, default=3)
    given = p.parse_args()
    print("| model | layers | positions | all, s | committing, s | one layer, s | of all | opening, kB |")
    print("|---|---|---|---|---|---|---|---|")
    for path in given.models:
        r = measure(path, given.tokens, given.threads, given.repeats)
        print(
            f"| {r.model} | {r.layers} | {r.positions} | {r.verified:.2f} | {r.committed:.2f} | {r.checked:.2f} | "
            f"{r.checked / r.verified:.0%} | {r.opening_bytes / 1000:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
