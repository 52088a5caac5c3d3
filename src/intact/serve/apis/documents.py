"""`/v1/documents/text`: the text of a PDF file, for questions about it in the web page."""

from __future__ import annotations

import asyncio
import base64
import binascii
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from intact._base.errors import IntactError
from intact.serve import pdf
from intact.serve.errors import ApiError, as_api_error
from intact.serve.forms import Form, FormRoute
from intact.serve.replies import reply

_READER = ThreadPoolExecutor(1, "intact-documents")
"""A single thread, so that slow files delay only other files."""
router = APIRouter(route_class=FormRoute)


class DocumentRequest(Form):
    """`/v1/documents/text`: a PDF file in base64."""

    data: Annotated[str, Field(max_length=(pdf.MOST_BYTES + 3) * 4 // 3)]


@router.post("/v1/documents/text")
async def text_of_document(body: DocumentRequest) -> Response:
    """Return the text of a PDF file."""
    try:
        data = base64.b64decode(body.data, validate=True)
    except binascii.Error as error:
        raise ApiError(400, f"data must be base64: {error}", "data") from None
    try:
        found = await asyncio.get_running_loop().run_in_executor(_READER, pdf.read_text, data)
    except IntactError as error:
        raise as_api_error(error, (), "data") from error
    return reply({"object": "document", **found._asdict()})
