"""The options of Ollama's requests: sampling parameters, and options that are ignored or have no effect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from intact.serve.errors import ApiError
from intact.serve.forms import Form, Number, Positive
from intact.serve.requests import BodySampling

OPTIONS = {"num_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}
"""Maps Ollama's option names to this server's."""
REPEATED, OLLAMA_REPEATED = "repeat_last_n", 64
"""The option for the number of recent tokens that penalties consider, and Ollama's default for it."""
_NEUTRAL: dict[str, Sequence[Any]] = {
    "mirostat": (0,),
    "tfs_z": (1,),
    "penalize_newline": (True,),
    "vocab_only": (False,),
    "embedding_only": (False,),
    "truncate": (False,),
    "shift": (False,),
}
"""Unsupported fields, with the values at which they have no effect."""


class OllamaOptions(BodySampling):
    """The options of a request: this server's sampling parameters, also accepted under Ollama's names."""

    num_predict: int | None = None
    repeat_penalty: Positive | None = None
    stop: str | Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=16)] | None = None
    # these do not affect the output
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    num_keep: int | None = None
    numa: bool | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    logits_all: bool | None = None
    # these are accepted only with values that have no effect
    repeat_last_n: int | None = None
    mirostat: int | None = None
    mirostat_tau: Number | None = None
    mirostat_eta: Number | None = None
    tfs_z: Number | None = None
    penalize_newline: bool | None = None
    vocab_only: bool | None = None
    embedding_only: bool | None = None

    def as_fields(self) -> dict[str, Any]:
        """Return the options as fields of the OpenAI API; a limit of zero or less means no limit, as in Ollama.

        Raises
        ------
        ApiError
            400, if an option is unsupported, or given under two names.
        """
        check_neutral(self, "options.")
        fields = {name: getattr(self, name) for name in BodySampling.model_fields}
        for name, known in OPTIONS.items():
            if (value := getattr(self, name)) is None:
                continue
            if fields.get(known) is not None:
                raise ApiError(
                    400, f"options.{name} and options.{known} mean the same: give only one of them", "options"
                )
            fields[known] = value
        penalized = fields["repetition_penalty"] not in (None, 1) or fields["presence_penalty"]
        if self.repeat_last_n not in (None, -1) and (penalized or fields["frequency_penalty"]):
            message = "options.repeat_last_n: penalties always count all tokens; leave it out, or give -1"
            raise ApiError(400, message, "options.repeat_last_n", "unsupported")
        if (fields.get("max_tokens") or 0) <= 0:
            fields["max_tokens"] = None
        return {name: value for name, value in {**fields, "stop": self.stop}.items() if value is not None}


def check_neutral(form: Form, where: str = "") -> None:
    """Reject unsupported fields unless they have no effect.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    for name, neutral in _NEUTRAL.items():
        value = getattr(form, name, None)
        if value is not None and value not in neutral:
            expected = json.dumps(neutral[0])
            message = f"{where}{name} is not supported; leave it out, or give {expected}, got {value!r:.60}"
            raise ApiError(400, message, where + name, "unsupported")
