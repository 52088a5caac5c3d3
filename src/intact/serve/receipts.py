"""`/v1/verify`: a receipt is checked (docs/receipts.md)."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from intact.errors import IntactError
from intact.library import Model
from intact.receipts import canonical
from intact.receipts.document import Receipt
from intact.receipts.verify import Verdict, verify
from intact.runs.document import RunReceipt, read_any
from intact.runs.replay import RunVerdict
from intact.runs.verify import verify_run
from intact.serve.errors import ApiError, as_api_error
from intact.serve.generation import Service
from intact.serve.requests import VerifyRequest
from intact.serve.threads import Work


async def check(service: Service, request: VerifyRequest, client: str) -> dict[str, Any]:
    """Compute again what a receipt says."""
    try:
        receipt = await asyncio.to_thread(lambda: read_any(canonical.encode(request.receipt)))
    except (IntactError, ValueError, TypeError) as error:
        raise ApiError(400, str(error), "receipt") from error
    async with service.models.lease(request.model or service.models.first) as served:
        try:
            tokens = _tokens(served.loaded, receipt)
        except IntactError as error:
            raise as_api_error(error, (), "receipt.request.prompt") from error
        work = Verifying(served.loaded, receipt)
        async with served.gate.enter(client, tokens), service.verifying.at_work(work) as future:
            try:
                verdict = await future
            except IntactError as error:
                raise as_api_error(error, (), "receipt") from error
        return {"object": "verdict", "model": served.name, **asdict(verdict)}


def _tokens(model: Model, receipt: Receipt | RunReceipt) -> int:
    """How many tokens verifying takes."""
    if isinstance(receipt, RunReceipt):
        return receipt.count
    prompt = receipt.header.request.prompt
    model.engine.check(prompt)
    return len(prompt) + receipt.count


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
