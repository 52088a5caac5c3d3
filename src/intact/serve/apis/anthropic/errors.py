"""Errors in Anthropic's format: ``{"type": "error", "error": {"type", "message"}}``."""

from __future__ import annotations

from typing import Any

from intact.serve.errors import ApiError, ErrorFormat

OVERLOADED = 529
THREADS = "thread_unsupported_request"
"""Error code that makes clients resend a whole conversation instead of continuing one stored on the server."""
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}


def _status(error: ApiError) -> int:
    """Return the HTTP status; a busy server that knows when to retry is reported as overloaded."""
    return error.status if error.after is None else OVERLOADED


def _body(error: ApiError) -> dict[str, Any]:
    status = _status(error)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    details = {"details": {"error_code": error.code}} if error.code == THREADS else {}
    return {"type": "error", "error": {"type": kind, "message": error.message, **details}}


ERROR_FORMAT = ErrorFormat(_status, _body, "error")
