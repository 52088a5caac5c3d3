"""The HTTP APIs that `intact meter` can use, one per file."""

from intact.measure.meter.apis.anthropic import Anthropic
from intact.measure.meter.apis.base import Api
from intact.measure.meter.apis.ollama import Ollama
from intact.measure.meter.apis.openai import OpenAI

APIS: dict[str, type[Api]] = {one.name: one for one in (OpenAI, Ollama, Anthropic)}
"""The APIs by name, in the order in which they are tried on an endpoint."""
