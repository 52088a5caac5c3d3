"""Addresses of endpoints."""

from __future__ import annotations

from intact._base.errors import ParameterError


def endpoint_address(url: str) -> str:
    """Return the base address of an endpoint, without a trailing slash.

    Raises
    ------
    ParameterError
        If the address is not an HTTP address, or contains a user, a password or a query, which would end up in reports.
    """
    import httpx

    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ParameterError(f"{url!r:.100} is not an address: {error}") from None
    if address.scheme not in ("http", "https") or not address.host or address.userinfo or address.query:
        raise ParameterError("the address must be http://HOST... or https://HOST..., without a user or a query")
    return str(address).rstrip("/")
