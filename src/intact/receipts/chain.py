"""The chain of digests over the positions of an answer (docs/receipts.md).

    link 0 = H("intact-receipt-chain-1" LF, the header's digest)
    link i = H(link i - 1, token i as four bytes, what entered the head to give the logits that token i was drawn from)

for the tokens i = 1, 2, ... of the output; the receipt holds links 1, 2, ... A link binds all that was before it, and
the first that is false says where an answer leaves the computation.
"""

from __future__ import annotations

from typing import Final

from intact.receipts.digests import HashName, digest

TAG: Final = b"intact-receipt-chain-1\n"


def first_link(name: HashName, header: bytes) -> bytes:
    """The link that all others follow, made of the header's digest."""
    return digest(name, TAG + header)


def next_link(name: HashName, before: bytes, token: int, head: bytes) -> bytes:
    """The link of a token.

    Parameters
    ----------
    before : bytes
        The link before it.
    head : bytes
        What entered the head there, as `Executor.head_inputs` gives it.
    """
    return digest(name, before + token.to_bytes(4, "little") + head)
