"""Hugging Face Transformers as a back end: any causal model, with our tokenizer, sampling, stops and constraints."""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import IntactError, ModelError, NotInstalledError, ParameterError
from intact._base.packages import install
from intact.engine.completion import Job
from intact.engine.request import Event
from intact.models.aspects.step import LOGIT_FRACTION
from intact.numerics.sampling import branch_key, draw, is_uncertain, log_probability, top
from intact.reason.backends.base import Generation, Written
from intact.reason.backends.native import TokenizerBackend, digest_of
from intact.text import Tokenizer
from intact.text.template import DEFAULT_NOW

STEPS = 16  # tokens per text before the driver checks its clock

_CAVEATS = (
    "the model computes in floating point: another machine, number of threads or version of torch may give other texts",
)


class _Text:
    """A generation in progress: its KV cache, and the logits of its next token."""

    def __init__(self, job: Job, key: int, cache: Any, logits: NDArray[np.int64]) -> None:
        self.job, self.key, self.cache, self.logits = job, key, cache, logits


class TransformersBackend(TokenizerBackend):
    """A causal model of Transformers, and the folder it was loaded from.

    Every sequence is computed on its own, from its first token, so its result does not depend on other sequences, and
    the same machine gives the same bits. Logits are rounded to 2^-16; everything after that uses integers, as in our
    engine.

    Parameters
    ----------
    model : PreTrainedModel
        The model, in evaluation mode and on its device.
    folder : path
        The folder it was loaded from. Its digest is part of the journal's keys, and our tokenizer reads its
        tokenizer.json.
    now : datetime
        The time passed to a chat template that needs it; by default a fixed one.

    Raises
    ------
    ModelError
        If the model does not state its context length.
    FormatError
        If the folder has no readable tokenizer.
    """

    caveats = _CAVEATS

    def __init__(self, model: Any, folder: str | Path, now: datetime = DEFAULT_NOW) -> None:
        import torch
        import transformers

        config = model.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None)
        if not isinstance(context, int):
            raise ModelError(f"{folder}: its configuration has no max_position_embeddings")
        super().__init__(Tokenizer.from_folder(folder), context, now)
        self.model = model
        kind = f"{model.dtype} {model.device.type} torch {torch.__version__} {transformers.__version__}"
        self.identity = f"transformers {kind} {digest_of(Path(folder))}"
        self._linear: int = sum([m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear)])
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._attention: int = config.num_hidden_layers * config.num_attention_heads * width
        self._read: tuple[list[int], Any, NDArray[np.int64]] | None = None
        self._live: dict[Generation, _Text] = {}

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str = "cpu", dtype: str = "float32", now: datetime = DEFAULT_NOW
    ) -> TransformersBackend:
        """Load a folder of safetensors files; nothing is downloaded, and no code from the folder is run.

        Raises
        ------
        NotInstalledError
            If Transformers is not installed.
        ModelError
            If Transformers cannot load the model.
        """
        try:
            import torch
            import transformers
        except ImportError as error:
            raise NotInstalledError(f"Transformers is not installed: {install('torch', 'transformers')}") from error
        if not Path(folder).is_dir():
            raise ModelError(f"{folder} is not a folder of safetensors")
        try:
            kind = transformers.AutoModelForCausalLM
            model: Any = kind.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True)
        except Exception as error:  # Transformers raises too many kinds
            raise ModelError(f"{folder}: Transformers cannot load it: {error!s:.300}") from error
        return cls(model.to(device).eval(), folder, now)

    def operations(self, start: int, count: int) -> int:
        """Return the multiply-adds of the matrices for every position, and of attention over all earlier positions."""
        end = start + count
        return count * self._linear + self._attention * (end * (end + 1) - start * (start + 1))

    def step(self) -> list[Generation]:
        """Sample tokens until a generation has ended, at most `STEPS` per generation."""
        self._admit()
        for _ in range(STEPS):
            if self._ended or not self._live:
                break
            for generation, text in list(self._live.items()):
                heat = generation.heat
                if generation in self._live and (heat is None or heat.may_move(generation.runner)):
                    self._move(generation, text)
            for generation in list(self._live):
                if generation.heat is not None and generation.heat.over(generation.runner):
                    self._stop(generation)
        ended, self._ended = self._ended, []
        return ended

    def _admit(self) -> None:
        """Begin the next generation, or the next race."""
        while self._waiting and not self._live:
            first = self._waiting.popleft()
            self._begin(first)
            while first.heat is not None and self._waiting and self._waiting[0].heat is first.heat:
                self._begin(self._waiting.popleft())

    def _begin(self, generation: Generation) -> None:
        parameters, vocabulary = generation.parameters, self.model.config.get_text_config().vocab_size
        try:
            context = self.tokens_of(generation.state)
            if not context:
                raise ParameterError("the prompt has no tokens")
            key = branch_key(parameters.seed, generation.branch)
            job = Job(self.tokenizer, parameters, context, keys=[key], context=self.context, vocabulary=vocabulary)
            text = _Text(job, key, *self._prefill(context))
        except (IntactError, RuntimeError) as error:
            self._end(generation, Written("", (), (), (), why="error", error=f"{type(error).__name__}: {error!s:.300}"))
        else:
            self._live[generation] = text

    def _prefill(self, context: list[int]) -> tuple[Any, NDArray[np.int64]]:
        """Prefill a sequence; a copy of the last cache is kept for other samples of the same prompt."""
        if self._read is None or self._read[0] != context:
            self._read = None
            self._read = (context, *self._forward(context, None))
        _, cache, logits = self._read
        return copy.deepcopy(cache), logits

    def _forward(self, tokens: list[int], cache: Any) -> tuple[Any, NDArray[np.int64]]:
        """Return the model's cache after these tokens, and the logits of the next token, in Q16."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor([tokens], device=self.model.device)
            out = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            row = out.logits[0, -1].to("cpu", torch.float64).numpy()
        if not np.isfinite(row).all():
            raise ModelError("the model returned non-finite logits")
        limit = (1 << 31) - 1
        return out.past_key_values, np.clip(np.rint(row * (1 << LOGIT_FRACTION)), -limit, limit).astype(np.int64)

    def _move(self, generation: Generation, text: _Text) -> None:
        """Sample a token, and run the model on it if another token is to follow."""
        request = text.job.request
        writer = text.job.writer(0)
        position = len(request.prompt) + len(writer.tokens)
        try:
            if request.rules is not None and not request.rules.allow():
                raise request.rules.refusal or ParameterError("no token may follow")
            rules = request.rules.next() if request.rules is not None else (None, None)
            token = draw(text.logits, request.sampling, text.key, position, *rules)
            if token < 0:
                assert request.rules is not None
                raise request.rules.dead_end(len(writer.tokens))
            text.job.request.sink(self._event(text, token, position))
            if request.rules is not None:
                request.rules.add(token)
            late = generation.heat is not None and generation.heat.advance(generation.runner)
            if writer.finish is not None:
                self._finish(generation, text)
            elif late:
                self._stop(generation)
            else:
                text.cache, text.logits = self._forward([token], text.cache)
        except (IntactError, RuntimeError) as error:
            writer.end("error", error)
            self._finish(generation, text)

    def _event(self, text: _Text, token: int, position: int) -> Event:
        best = top(text.logits, max(1, text.job.request.top))
        first = log_probability(text.logits, int(best[0]))

        def logprob(other: int) -> int:
            return first - int(text.logits[best[0]] - text.logits[other] << 8)

        rivals = tuple([(int(other), logprob(other)) for other in best[: text.job.request.top]])
        bound = text.job.request.stop_below
        uncertain = bound > 0 and is_uncertain(text.logits, bound)
        return Event(0, token, logprob(token), position, top=rivals, uncertain=uncertain)

    def _stop(self, generation: Generation) -> None:
        text = self._live[generation]
        text.job.writer(0).end("cancelled", None)
        self._finish(generation, text)

    def _finish(self, generation: Generation, text: _Text) -> None:
        del self._live[generation]
        self._end(generation, self._written(text.job, 0, generation.state))
