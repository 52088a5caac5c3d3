"""`/v1/verify`: a receipt is checked (docs/receipts.md)."""

from __future__ import annotations

from collections.abc import Callable
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
from intact.serve.generation import Service, apart
from intact.serve.requests import VerifyRequest


async def check(service: Service, request: VerifyRequest, client: str) -> dict[str, Any]:
    """Compute again what a receipt says."""
    try:
        receipt = read_any(canonical.encode(request.receipt))
    except (IntactError, ValueError, TypeError) as error:
        raise ApiError(400, str(error), "receipt") from error
    async with service.models.lease(request.model or service.models.first) as served:
        try:
            tokens, judge = _work(served.loaded, receipt)
        except IntactError as error:
            raise as_api_error(error, (), "receipt.request.prompt") from error
        async with served.gate.enter(client, tokens):
            verdict = await apart(judge, "receipt")
        return {"object": "verdict", "model": served.name, **asdict(verdict)}


def _work(model: Model, receipt: Receipt | RunReceipt) -> tuple[int, Callable[[], Verdict | RunVerdict]]:
    """How many tokens verifying takes, and what does it."""
    if isinstance(receipt, RunReceipt):
        return receipt.count, lambda: verify_run(model, receipt)
    prompt = receipt.header.request.prompt
    model.engine.check(prompt)
    return len(prompt) + receipt.count, lambda: next(verify(model, [receipt]))
