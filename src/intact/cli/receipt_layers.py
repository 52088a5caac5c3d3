"""``intact receipt commit`` and ``intact receipt open``: commit to activations between layers, and open commitments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from intact._base.errors import ParameterError, ReceiptError
from intact.checkpoints.catalogue import DEFAULT
from intact.cli import fetch
from intact.cli.model_option import ModelOption
from intact.cli.options import AdapterOption, JsonOption, ThreadsOption
from intact.cli.output import emit, note

if TYPE_CHECKING:
    from intact.library import Model
    from intact.receipts.document import Receipt

COMMIT_EXAMPLES: Final = """\
Let a receipt commit to the layers, so that it can be checked by one of them
  intact receipt commit sky.receipt
Sign it afterwards
  intact keys sign sky.receipt --key paper.key
"""
OPEN_EXAMPLES: Final = """\
The layer that a number chooses which nobody knew when the receipt was made
  intact receipt open sky.receipt --nonce 00000000000000000001dd05 --output sky.opening
  intact verify sky.receipt --opening sky.opening --nonce 00000000000000000001dd05
Three layers of the second receipt of a file
  intact receipt open answers.receipts --line 2 --nonce 42 --layers 3 --output answer.opening
"""
ReceiptsFile = Annotated[Path, typer.Argument(metavar="RECEIPTS", help="File of receipts.", show_default=False)]


def commit(
    receipts: ReceiptsFile,
    model: ModelOption = DEFAULT,
    adapter: AdapterOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file; by default the same file.", show_default=False
        ),
    ] = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Make receipts of answers commit to the activations between layers; existing signatures are dropped.

    Each answer is recomputed. Nothing is verified.
    """
    from intact.receipts.document import write_receipts
    from intact.receipts.opening import commit as commit_layers

    loaded: Model | None = None
    made: list[Receipt] = []
    for number, receipt in enumerate(_answers(receipts), 1):
        loaded = _load(model, adapter, threads, receipt, loaded=loaded)
        try:
            made.append(commit_layers(loaded, receipt))
        except ParameterError as error:
            raise ReceiptError(f"{receipts}, line {number}: {error}") from error
    write_receipts(output or receipts, made)
    if json:
        emit({"file": str(output or receipts), "digests": [receipt.digest.hex() for receipt in made]})
    else:
        note(f"{len(made)} receipts commit to the rows between layers")


def open_(
    receipts: ReceiptsFile,
    nonce: Annotated[
        str, typer.Option("--nonce", help="Text that selects the layers; unknown when the receipt was made.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Output file.", show_default=False)],
    layers: Annotated[int, typer.Option("--layers", min=1, help="Number of layers to open.")] = 1,
    line: Annotated[int, typer.Option("--line", min=1, help="Line of the receipt in the file.")] = 1,
    model: ModelOption = DEFAULT,
    adapter: AdapterOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Write the inputs of the layers that a nonce selects, so that anyone can check only these layers."""
    from intact.receipts.opening import open_layers

    chosen = _answers(receipts)
    if line > len(chosen):
        raise ParameterError(f"{receipts} has no line {line}")
    receipt = chosen[line - 1]
    opening = open_layers(_load(model, adapter, threads, receipt), receipt, nonce, layers)
    opening.save(output)
    size = output.stat().st_size
    if json:
        emit({"file": str(output), "receipt": receipt.digest.hex(), "layers": list(opening.layers), "bytes": size})
    else:
        note(f"opened layers {', '.join(map(str, opening.layers))}: {size:,} bytes in {output}")


def _answers(path: Path) -> list[Receipt]:
    """Return the receipts in a file; raise if one is not of an answer."""
    from intact.cli.verify import parsers
    from intact.receipts.document import Receipt, read_receipts

    found = []
    for number, receipt in enumerate(read_receipts(path, parsers()), 1):
        if not isinstance(receipt, Receipt):
            raise ReceiptError(f"{path}, line {number}: only receipts of answers can commit to layers")
        found.append(receipt)
    return found


def _load(name: str, adapter: Path | None, threads: int | None, receipt: Receipt, loaded: Model | None = None) -> Model:
    """Return a model loaded as a receipt requires, reusing the loaded one if it matches."""
    numerics = receipt.header.numerics
    if loaded is not None and (loaded.executor.profile, loaded.executor.bits) == (numerics.profile, numerics.bits):
        return loaded
    return fetch.load(name, numerics.profile, threads, None, bits=numerics.bits, drafter="off", adapter=adapter)
