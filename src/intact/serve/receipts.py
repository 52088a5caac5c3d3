"""`/v1/verify`: a receipt is checked (docs/receipts.md)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from intact.errors import IntactError
from intact.receipts import canonical
from intact.receipts.document import Receipt
from intact.receipts.verify import verify
from intact.serve.errors import ApiError, as_api_error
from intact.serve.generation import Service, apart
from intact.serve.requests import VerifyRequest


async def check(service: Service, request: VerifyRequest, client: str) -> dict[str, Any]:
    """Compute again what a receipt says."""
    try:
        receipt = Receipt.parse(canonical.encode(request.receipt))
    except (IntactError, ValueError, TypeError) as error:
        raise ApiError(400, str(error), "receipt") from error
    async with service.models.lease(request.model or service.models.first) as served:
        tokens = len(receipt.header.request.prompt) + len(receipt.output.tokens)
        try:
            served.loaded.engine.check(receipt.header.request.prompt)
        except IntactError as error:
            raise as_api_error(error, (), "receipt.request.prompt") from error
        async with served.gate.enter(client, tokens):
            verdict = await apart(lambda: next(verify(served.loaded, [receipt])), "receipt")
        return {"object": "verdict", "model": served.name, **asdict(verdict)}
