"""The field `thinking`: rejected if the chat template has no switch for it, or if it would have no effect.

Adaptive thinking leaves the decision to the model, so it is accepted for models that do not think.
"""

from __future__ import annotations

from intact.serve.apis.anthropic.forms import TokensRequest
from intact.serve.errors import ApiError
from intact.serve.models import Served
from intact.serve.thinking import template_source
from intact.text.thinking import SWITCH


def is_enabled(request: TokensRequest) -> bool:
    """Return true if a request enables thinking."""
    return request.thinking is not None and request.thinking.type != "disabled"


def check(request: TokensRequest, served: Served) -> None:
    """Reject enabled thinking if it would have no effect, or if thinking could not be separated from the text.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    if not is_enabled(request):
        return
    choice, output = request.tool_choice, request.output_config
    if SWITCH not in template_source(served):
        if request.thinking is not None and request.thinking.type == "adaptive":
            return
        message = f"thinking cannot be enabled: the chat template of {served.name} has no {SWITCH}"
        raise ApiError(400, message, "thinking", "unsupported")
    if (choice is not None and choice.type in ("any", "tool")) or (output is not None and output.format is not None):
        message = "thinking cannot be enabled if calls are required or the output has a format: neither has thoughts"
        raise ApiError(400, message, "thinking", "unsupported")
