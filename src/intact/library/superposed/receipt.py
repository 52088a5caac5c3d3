"""The receipt of superposed drafts: everything that determines them, and the drafts with their scores.

It is a line of canonical JSON, like the receipts of answers (docs/spec/receipts.md, Superposed drafts).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from intact._base.errors import ParameterError, ReceiptError
from intact._base.strict_json import LARGEST, MOST_TOKEN, Fields, check_kind
from intact.library.superposed.decoder import VERSION as DEFINITION
from intact.library.superposed.decoder import SuperposedDecoder
from intact.library.superposed.request import MOST, MOST_CANDIDATES, SuperposedDraft, SuperposedRequest
from intact.receipts.document import AnyReceipt
from intact.receipts.identity import digests_of, numerics_of
from intact.receipts.model_digests import ModelDigests, Numerics
from intact.receipts.request import decimal_text, read_decimal
from intact.receipts.source import PromptSource

FORMAT: Final = "intact-superposed-receipt"
VERSION: Final = 1
_MEMBERS: Final = ("format", "version", "definition", "model", "numerics", "request", "ngrams", "drafts")
_REQUEST: Final = ("prompt", "source", "n", "max_tokens", "temperature", "alpha", "candidates")


@dataclass(frozen=True)
class SuperposedReceipt(AnyReceipt):
    """Everything that determines superposed drafts, and the drafts.

    Attributes
    ----------
    definition : int
        Version of the definition in docs/spec/superposed.md.
    model : ModelDigests
        The model, with its end tokens.
    numerics : Numerics
        The model's arithmetic.
    request : SuperposedRequest
        The prompt and parameters.
    ngrams : bytes or None
        `NGrams.digest` of the texts that drafts should resemble; None if there are none.
    drafts : tuple of SuperposedDraft
        The drafts, as `SuperposedDecoder.run` returns them.
    """

    definition: int
    model: ModelDigests
    numerics: Numerics
    request: SuperposedRequest
    ngrams: bytes | None
    drafts: tuple[SuperposedDraft, ...]

    @property
    def count(self) -> int:
        """Total number of tokens in all drafts."""
        return sum(len(draft.tokens) for draft in self.drafts)

    def unsigned(self) -> dict[str, Any]:
        """Return the receipt's members except the signature."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "definition": self.definition,
            "model": self.model.to_document(),
            "numerics": self.numerics.to_document(),
            "request": _request_to_document(self.request),
            "ngrams": self.ngrams and self.ngrams.hex(),
            "drafts": [{**draft._asdict(), "tokens": list(draft.tokens)} for draft in self.drafts],
        }

    @classmethod
    def from_document(cls, value: Any) -> SuperposedReceipt:
        """Parse the output of `unsigned`."""
        check_kind(value, "receipt of superposed drafts", FORMAT, VERSION)
        fields = Fields(value, "the receipt", _MEMBERS, ("signature",))
        numerics = Numerics.from_document(value["numerics"])
        if numerics.profile == "fp32":
            raise ReceiptError("numerics.profile must be an integer profile, such as int8, got 'fp32'")
        ngrams = fields.maybe("ngrams", fields.digest)
        request = _request_from_document(value["request"], ngrams is not None)
        if not 1 <= len(fields.items("drafts")) <= request.n:
            fields.fail("drafts", f"a list of 1 to {request.n} drafts, the request's n")
        return cls(
            definition=fields.integer("definition", 1),
            model=ModelDigests.from_document(value["model"]),
            numerics=numerics,
            request=request,
            ngrams=ngrams,
            drafts=fields.each("drafts", lambda draft, where: _draft_from_document(draft, where, request.max_tokens)),
        )


def _request_to_document(request: SuperposedRequest) -> dict[str, Any]:
    return {
        "prompt": list(request.prompt),
        "source": request.source and request.source.to_document(),
        "n": request.n,
        "max_tokens": request.max_tokens,
        "temperature": decimal_text(request.temperature),
        "alpha": decimal_text(request.alpha),
        "candidates": request.candidates,
    }


def _request_from_document(value: Any, has_ngrams: bool) -> SuperposedRequest:
    fields = Fields(value, "request", _REQUEST)
    alpha = read_decimal(fields, "alpha")
    if alpha and not has_ngrams:
        fields.fail("alpha", "'0' for a request without n-grams")
    try:
        return SuperposedRequest(
            prompt=fields.integers("prompt", shortest=1),
            n=fields.integer("n", 1, MOST),
            max_tokens=fields.integer("max_tokens", 1, MOST_TOKEN),
            temperature=read_decimal(fields, "temperature"),
            alpha=alpha,
            candidates=fields.integer("candidates", 1, MOST_CANDIDATES),
            source=fields.maybe("source", lambda n: PromptSource.from_document(fields.values[n], "request.source")),
        )
    except ParameterError as error:
        raise ReceiptError(f"request: {error}") from error


def _draft_from_document(value: Any, where: str, longest: int) -> SuperposedDraft:
    fields = Fields(value, where, SuperposedDraft._fields)
    tokens = fields.integers("tokens", shortest=1)
    if len(tokens) > longest:
        raise ReceiptError(f"{fields.place('tokens')} has {len(tokens)} tokens; the request allows at most {longest}")
    return SuperposedDraft(
        tokens, fields.text("text"), fields.integer("score", -LARGEST, LARGEST), fields.flag("ended")
    )


PARSERS: Final[Mapping[str, Callable[[bytes], SuperposedReceipt]]] = {FORMAT: SuperposedReceipt.parse}
"""Parser for `intact.receipts.document.read_any`."""


def make_receipt(decoder: SuperposedDecoder, request: SuperposedRequest) -> SuperposedReceipt:
    """Generate the drafts of a request, and return their receipt; a model's first receipt reads its weights once.

    Raises
    ------
    ParameterError, CapacityError
        As in `SuperposedDecoder.run`.
    """
    model, ngrams = decoder.model, decoder.ngrams
    drafts = decoder.run(request)
    return SuperposedReceipt(
        definition=DEFINITION,
        model=digests_of(model),
        numerics=numerics_of(model),
        request=request,
        ngrams=None if ngrams is None else ngrams.digest,
        drafts=tuple(drafts),
    )
