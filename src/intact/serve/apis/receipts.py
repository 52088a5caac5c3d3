"""`/v1/receipts` and `/v1/verify`: fetch receipts of recent answers, and verify them (docs/spec/receipts.md)."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from intact._base.errors import IntactError
from intact.library import Model
from intact.receipts import canonical
from intact.receipts.document import Receipt, read_any
from intact.receipts.verify import WINDOW, Verdict, unreadable, verify
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Form, FormRoute
from intact.serve.replies import CancellableResponse, JsonReply
from intact.serve.service import CancellableWork, Client, Service, TheService
from intact.solving.receipts import PARSERS
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import TextEntry
from intact.solving.receipts.verdict import RunVerdict
from intact.solving.receipts.verify import receipts_of_texts, verify_run

router = APIRouter(route_class=FormRoute)


class VerifyRequest(Form):
    """`/v1/verify`: a receipt, and a model, which defaults to the server's first."""

    receipt: dict[str, Any]
    model: str | None = None


@router.get("/v1/receipts/{name}")
async def receipts(name: str, service: TheService, client: Client) -> Response:
    """Return the receipts of a recent answer."""
    return service.receipts.response(client, name)


@router.post("/v1/verify")
async def verify_receipt(body: VerifyRequest, service: TheService, client: Client) -> CancellableResponse:
    """Verify a receipt."""
    return JsonReply(lambda: _check(service, body, client), service.seconds())


@router.post("/v1/receipts/texts")
async def texts_of_run(body: VerifyRequest, service: TheService) -> CancellableResponse:
    """Return the receipt of each text in the receipt of a run, so that other programs can verify the texts."""
    return JsonReply(lambda: _texts(service, body), service.seconds())


async def _texts(service: Service, request: VerifyRequest) -> dict[str, Any]:
    """Replay a run's method to get the complete requests of its texts."""
    async with service.models.lease(request.model or service.models.first) as served:
        try:
            receipt = await asyncio.to_thread(lambda: read_any(canonical.encode(request.receipt), PARSERS))
        except ValueError as error:
            raise invalid_receipt(str(error)) from error
        if not isinstance(receipt, RunReceipt):
            raise invalid_receipt("it must be the receipt of a run; an answer's receipt is complete by itself")
        work = ExpansionWork(served.loaded, receipt)
        async with service.verifications.running(work) as future:
            try:
                data = await future
            except IntactError as error:
                raise as_api_error(error, (), "receipt") from error
    return {"object": "list", "data": data}


def invalid_receipt(message: str) -> ApiError:
    """Return the error for a receipt that an endpoint cannot use."""
    return ApiError(400, message, "receipt")


async def _check(service: Service, request: VerifyRequest, client: str) -> dict[str, Any]:
    """Return the verdict on a receipt; unreadable receipts get a verdict too."""
    async with service.models.lease(request.model or service.models.first) as served:
        verdict: Verdict | RunVerdict
        try:
            receipt = await asyncio.to_thread(lambda: read_any(canonical.encode(request.receipt), PARSERS))
        except ValueError as error:
            verdict = unreadable(error)
        else:
            work = VerificationWork(served.loaded, receipt)
            tokens, texts = _expected(receipt, served.admission.capacity)
            async with (
                served.admission.admit(client, tokens, texts) as admission,
                service.verifications.running(work) as future,
            ):
                try:
                    verdict = await future
                except IntactError as error:
                    raise as_api_error(error, (), "receipt") from error
                if isinstance(verdict, RunVerdict):
                    admission.used = max(verdict.given, receipt.count)
        return {"object": "verdict", "model": served.name, **asdict(verdict)}


def _expected(receipt: Receipt | RunReceipt, most: int) -> tuple[int, int]:
    """Return the expected numbers of tokens and of concurrent sequences for a verification.

    A run's prompts are counted by the cost that the receipt claims, at most `most`, and twice if a mix also reads a
    shadow; a receipt that claims too little is rejected before the model reads anything.
    """
    if isinstance(receipt, Receipt):
        request = receipt.header.request
        streams = () if request.decoding is None else request.decoding.streams
        return receipt.count + len(request.prompt) + sum(len(stream.prompt or ()) for stream in streams), 1
    texts = sum(isinstance(entry, TextEntry) for entry in receipt.entries)
    shadowed = any(model.mix is not None and model.mix.shadow is not None for model in receipt.header.models)
    return receipt.count + min(receipt.result.cost.prefill * (1 + shadowed), most), max(1, min(texts, WINDOW))


class VerificationWork(CancellableWork[Verdict | RunVerdict]):
    """A receipt being verified."""

    def __init__(self, model: Model, receipt: Receipt | RunReceipt) -> None:
        super().__init__("verify")
        self._model, self._receipt = model, receipt

    def run(self) -> Verdict | RunVerdict:
        """Return the verdict."""
        if isinstance(self._receipt, RunReceipt):
            return verify_run(self._model, self._receipt, between=self.check)
        return next(verify(self._model, [self._receipt], between=self.check))


class ExpansionWork(CancellableWork[list[dict[str, Any]]]):
    """The receipts of a run's texts being derived."""

    def __init__(self, model: Model, receipt: RunReceipt) -> None:
        super().__init__("expand")
        self._model, self._receipt = model, receipt

    def run(self) -> list[dict[str, Any]]:
        """Return the texts' entries and receipts."""
        found = receipts_of_texts(self._model, self._receipt, between=self.check)
        return [{"entry": entry, "receipt": receipt.to_document()} for entry, receipt in found]
