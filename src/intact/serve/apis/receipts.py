"""`/v1/verify`: a receipt is checked (docs/receipts.md)."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from intact.errors import IntactError
from intact.library import Model
from intact.receipts import canonical
from intact.receipts.document import Receipt, read_any
from intact.receipts.verify import WINDOW, Verdict, unreadable, verify
from intact.run_receipts import PARSERS
from intact.run_receipts.document import RunReceipt
from intact.run_receipts.entries import TextEntry
from intact.run_receipts.verdict import RunVerdict
from intact.run_receipts.verify import verify_run
from intact.serve.errors import as_api_error
from intact.serve.generation import Service
from intact.serve.requests import VerifyRequest
from intact.serve.service import Work


async def check(service: Service, request: VerifyRequest, client: str) -> dict[str, Any]:
    """Compute again what a receipt says. Whatever is sent as one has a verdict, be it that it cannot be read."""
    async with service.models.lease(request.model or service.models.first) as served:
        verdict: Verdict | RunVerdict
        try:
            receipt = await asyncio.to_thread(lambda: read_any(canonical.encode(request.receipt), PARSERS))
        except ValueError as error:
            verdict = unreadable(error)
        else:
            work = Verifying(served.loaded, receipt)
            tokens, texts = _foreseen(receipt, served.gate.capacity)
            async with served.gate.enter(client, tokens, texts) as ticket, service.verifying.at_work(work) as future:
                try:
                    verdict = await future
                except IntactError as error:
                    raise as_api_error(error, (), "receipt") from error
                if isinstance(verdict, RunVerdict):
                    ticket.used = max(verdict.given, receipt.count)
        return {"object": "verdict", "model": served.name, **asdict(verdict)}


def _foreseen(receipt: Receipt | RunReceipt, most: int) -> tuple[int, int]:
    """How many tokens verifying is likely to take, and texts side by side.

    Of a run prompts are known by what it says they cost: no more than `most`. Whoever says too little is found out
    before the model reads any.
    """
    if isinstance(receipt, Receipt):
        return receipt.count + len(receipt.header.request.prompt), 1
    texts = sum(isinstance(entry, TextEntry) for entry in receipt.entries)
    return receipt.count + min(receipt.result.cost.prefill, most), max(1, min(texts, WINDOW))


class Verifying(Work[Verdict | RunVerdict]):
    """A receipt that is being verified."""

    def __init__(self, model: Model, receipt: Receipt | RunReceipt) -> None:
        super().__init__("verify")
        self._model, self._receipt = model, receipt

    def run(self) -> Verdict | RunVerdict:
        """Reach the verdict."""
        if isinstance(self._receipt, RunReceipt):
            return verify_run(self._model, self._receipt, between=self.check)
        return next(verify(self._model, [self._receipt], between=self.check))
