"""The field `think`, interpreted for a model's chat template."""

from __future__ import annotations

from dataclasses import dataclass

from intact.serve.errors import ApiError
from intact.serve.models import Served
from intact.serve.requests import ChatRequest
from intact.serve.thinking import LEVELS, can_think, template_source, with_variable
from intact.text.thinking import SWITCH


@dataclass(frozen=True)
class ThinkChoice:
    """The choice of a request: true, false, a level such as "low", or None for the model's default.

    By default, thinking is part of the content.
    """

    think: bool | str | None

    def prepare(self, request: ChatRequest, served: Served) -> ChatRequest:
        """Return the request with the template's variables set.

        Raises
        ------
        ApiError
            400, if the model cannot think, or cannot do so as requested.
        """
        if self.think is None:
            return request
        source = template_source(served)
        if isinstance(self.think, str):
            if LEVELS not in source:
                raise _refusal(f"think value {self.think!r:.60} is not supported for this model; give true or false")
            return with_variable(request, LEVELS, self.think)
        if self.think and not can_think(source):
            raise _refusal(f'"{served.name}" does not support thinking')
        if self.think and request.response_format is not None:
            raise _refusal("think cannot be combined with format, because thoughts do not match it")
        if SWITCH in source:
            return with_variable(request, SWITCH, self.think)
        if can_think(source) and not self.think:
            raise _refusal(f'"{served.name}" always thinks: its template has no {SWITCH}')
        return request


def _refusal(message: str) -> ApiError:
    return ApiError(400, message, "think", "unsupported")
