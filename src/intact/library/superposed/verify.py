"""Verify receipts of superposed drafts: generate the drafts again, and compare them with all claims of the receipt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from intact._base.errors import CapacityError, ParameterError
from intact.library.model import Model
from intact.library.superposed.decoder import VERSION, SuperposedDecoder
from intact.library.superposed.ngrams import NGrams
from intact.library.superposed.receipt import SuperposedReceipt
from intact.library.superposed.request import SuperposedDraft, check_fits
from intact.receipts.verify import (
    Verdict,
    first_difference,
    identity,
    rejected_source,
    rejected_tokens,
    signature_of,
)


def verify_drafts(
    model: Model, receipts: Iterable[SuperposedReceipt], texts: str | None = None, signed_by: bytes | None = None
) -> Iterator[Verdict]:
    """Yield a verdict for each receipt of superposed drafts, in order.

    A verdict's position is the position of a token in the draft that its detail names.

    Parameters
    ----------
    texts : str, optional
        Texts of the n-grams, one per line, for receipts that name n-grams.
    signed_by : bytes, optional
        Public key that must have signed the receipts. Without it a signature may be missing, but must be valid.
    """
    verifier = _Verifier(model, texts, signed_by)
    try:
        for receipt in receipts:
            yield verifier.verdict(receipt)
    finally:
        verifier.close()


class _Verifier:
    """Verifies receipts with one decoder, created when the first receipt needs it."""

    def __init__(self, model: Model, texts: str | None, signed_by: bytes | None) -> None:
        self._model, self._texts, self._signed_by = model, texts, signed_by
        self._decoder: SuperposedDecoder | None = None

    def close(self) -> None:
        """Free the decoder's weights."""
        if self._decoder is not None:
            self._decoder.close()

    @cached_property
    def _ngrams(self) -> NGrams | None:
        return None if self._texts is None else NGrams.of_lines(self._model.tokenizer, self._texts)

    def verdict(self, receipt: SuperposedReceipt) -> Verdict:
        """Return the verdict on one receipt."""
        return self._rejected(receipt) or self._compared(receipt)

    def _rejected(self, receipt: SuperposedReceipt) -> Verdict | None:
        """Return the verdict on the receipt if it can be reached without generating drafts, else None."""
        if receipt.definition != VERSION:
            detail = f"it is of version {receipt.definition} of the definition; this program has version {VERSION}"
            return Verdict("unverifiable", "decoding", None, detail)
        model, request = self._model, receipt.request
        found = signature_of(receipt, self._signed_by) or identity(model, receipt.model, receipt.numerics, "sha256")
        tokens = (rejected_tokens(model, request.prompt, one.tokens, request.max_tokens) for one in receipt.drafts)
        found = found or next(filter(None, tokens), None) or rejected_source(model, request.source, request.prompt)
        if found is not None:
            return found
        try:
            check_fits(model, request)
        except ParameterError as error:
            return Verdict("false", "sampling", None, f"this model takes no such request: {error}")
        return None if receipt.ngrams is None else self._rejected_ngrams(receipt.ngrams)

    def _rejected_ngrams(self, claimed: bytes) -> Verdict | None:
        if self._ngrams is None:
            detail = "its drafts follow the n-grams of texts: name their file by --ngrams"
            return Verdict("unverifiable", "ngrams", None, detail)
        if self._ngrams.digest != claimed:
            detail = f"its n-grams have the digest {claimed.hex()}; those given have {self._ngrams.digest.hex()}"
            return Verdict("unverifiable", "ngrams", None, detail)
        return None

    def _compared(self, receipt: SuperposedReceipt) -> Verdict:
        """Generate the drafts again, and return the verdict."""
        try:
            if self._decoder is None:
                self._decoder = SuperposedDecoder(self._model)
            self._decoder.ngrams = None if receipt.ngrams is None else self._ngrams
            drafts = self._decoder.run(receipt.request)
        except CapacityError as error:
            return Verdict("unverifiable", "memory", None, str(error))
        except ParameterError as error:
            return Verdict("unverifiable", "model", None, str(error))
        return _compare(receipt.drafts, drafts)


def _compare(claimed: Iterable[SuperposedDraft], found: list[SuperposedDraft]) -> Verdict:
    """Return the verdict on a receipt's drafts, given the regenerated ones."""
    claimed, checked = list(claimed), 0
    for number, (one, own) in enumerate(zip(claimed, found, strict=False), 1):
        position = first_difference(one.tokens, own.tokens)
        if position is not None:
            claim, right = (_token_at(draft, position) for draft in (one, own))
            detail = f"draft {number} has {claim} there; written again it has {right}"
            return Verdict("false", "token", position, detail, checked=checked + position)
        checked += len(own.tokens)
        if one.score != own.score:
            detail = f"it says that the score of draft {number} is {one.score}; written again it is {own.score}"
            return Verdict("false", "score", None, detail, checked=checked)
        if one.ended != own.ended:
            claim, right = ("ends" if draft.ended else "goes on" for draft in (one, own))
            return Verdict("false", "finish", None, f"it says that draft {number} {claim}; it {right}", checked=checked)
        if (character := first_difference(one.text, own.text)) is not None:
            detail = f"the tokens of draft {number} say another text, from character {character} on"
            return Verdict("false", "text", None, detail, checked=checked)
    if len(claimed) != len(found):
        detail = f"it has {len(claimed)} drafts; the request gives {len(found)}"
        return Verdict("false", "drafts", None, detail, checked=checked)
    return Verdict("true", checked=checked)


def _token_at(draft: SuperposedDraft, position: int) -> str:
    return f"token {draft.tokens[position]}" if position < len(draft.tokens) else "no token"
