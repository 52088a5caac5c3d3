"""``intact keys``: create keys, show them, and sign receipts with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact._base.errors import ReceiptError
from intact.cli.options import JsonOption
from intact.cli.output import emit, note, say
from intact.cli.verify import parsers

NEW_EXAMPLES = """\
A private key that only you can read, and its public key next to it
  intact keys new paper.key
"""
SHOW_EXAMPLES = """\
The public key, for publication
  intact keys show paper.key
  intact keys show paper.key.pub
"""
SIGN_EXAMPLES = """\
Sign every receipt of a file
  intact keys sign answers.receipts --key paper.key
Keep the file, and write another
  intact keys sign answers.receipts --key paper.key --output signed.receipts
"""

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Key file.", show_default=False)]


def new(file: KeyFile, json: JsonOption = False) -> None:
    """Create a signing key, and print its public key. Existing files are never overwritten."""
    from intact.receipts.signature import PUBLIC_SUFFIX, new_key

    key = new_key(file)
    if json:
        emit({"public": key.public.hex(), "file": str(file), "public_file": f"{file}{PUBLIC_SUFFIX}"})
        return
    say(key.public.hex() + "\n")
    note(f"private key: {file} (keep it to yourself); public key: {file}{PUBLIC_SUFFIX}")


def show(file: KeyFile, json: JsonOption = False) -> None:
    """Print the public key in a file."""
    from intact.receipts.signature import public_key

    public = public_key(str(file)).hex()
    if json:
        emit({"public": public, "file": str(file)})
    else:
        say(public + "\n")


def sign(
    receipts: Annotated[Path, typer.Argument(metavar="RECEIPTS", help="File of receipts.", show_default=False)],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Private key.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file; by default the same file.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Sign receipts, replacing existing signatures. A receipt whose root does not match its parts is not signed."""
    from intact.receipts.document import read_receipts, write_receipts
    from intact.receipts.signature import read_key
    from intact.solving.receipts.document import RunReceipt

    private = read_key(key)
    signed = []
    for number, receipt in enumerate(read_receipts(receipts, parsers()), 1):
        if isinstance(receipt, RunReceipt) and receipt.root != receipt.digest:
            raise ReceiptError(f"{receipts}, line {number}: its root does not match its parts; nothing was signed")
        signed.append(receipt.signed(private.sign(receipt.digest)))
    write_receipts(output or receipts, signed)
    if json:
        digests = [receipt.digest.hex() for receipt in signed]
        emit({"file": str(output or receipts), "public": private.public.hex(), "digests": digests})
    else:
        note(f"{len(signed)} receipts signed by {private.public.hex()}")
