"""State that the server keeps for clients: its folders, JSON descriptions, and paged lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from intact._base.errors import ParameterError
from intact.serve.errors import ApiError
from intact.serve.replies import reply


class Paging(BaseModel):
    """Query parameters of a list: at most `limit` items after the identifier `after`."""

    model_config = ConfigDict(extra="forbid")
    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20

    def page(self, values: Sequence[dict[str, Any]]) -> Response:
        """Return the requested page of a list.

        Raises
        ------
        ApiError
            400, if `after` is not in the list.
        """
        names, start = [value["id"] for value in values], 0
        if self.after is not None:
            if self.after not in names:
                raise ApiError(400, f"after: {self.after!r:.60} is not in the list", "after", "not_found")
            start = names.index(self.after) + 1
        end = start + self.limit
        names, more = names[start:end], end < len(names)
        ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
        return reply({"object": "list", "data": values[start:end], **ends, "has_more": more})


def make_private(folder: Path) -> None:
    """Create a folder readable only by its owner, if it is absent.

    Raises
    ------
    ParameterError
        If that fails.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{folder} cannot be used as a folder for the server's state: {error}") from error


def load(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file, or None."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
