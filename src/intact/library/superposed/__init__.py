"""Superposed decoding: several drafts of a continuation from one pass, and their receipts (docs/superposed.md)."""

from intact.library.superposed.decoder import VERSION, SuperposedDecoder
from intact.library.superposed.ngrams import NGrams
from intact.library.superposed.receipt import SuperposedReceipt, make_receipt
from intact.library.superposed.request import SuperposedDraft, SuperposedRequest
from intact.library.superposed.verify import verify_drafts

__all__ = [
    "VERSION",
    "NGrams",
    "SuperposedDecoder",
    "SuperposedDraft",
    "SuperposedReceipt",
    "SuperposedRequest",
    "make_receipt",
    "verify_drafts",
]
