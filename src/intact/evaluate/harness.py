"""A model class for lm-evaluation-harness: run its tasks, prompts and metrics with intact's models.

  python -m intact.evaluate.harness --model intact --model_args pretrained=MODEL --tasks arc_easy

runs `lm_eval` with the class registered; other programs import this module before they call lm_eval.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intact._base.errors import NotInstalledError, ParameterError
from intact._base.packages import install
from intact.evaluate.likelihood import Likelihoods, encode_pair, likelihood
from intact.library import Model, load
from intact.numerics.profiles import Profile
from intact.reason.backends.native import NativeBackend
from intact.text.template import DEFAULT_NOW, read_time

if find_spec("lm_eval") is None:
    _MISSING = f"lm-evaluation-harness is missing: {install('lm-eval')}"
    if __name__ == "__main__":
        print(f"error: {_MISSING}", file=sys.stderr)
        sys.exit(2)
    raise NotInstalledError(_MISSING)

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

MAX_TOKENS = 256
"""The default maximum length of an answer, as in the harness's own classes."""
_KNOWN = {"until", "max_gen_toks", "max_tokens", "do_sample", "temperature", "top_p", "top_k", "min_p"}


@register_model("intact")
class IntactLM(LM):  # type: ignore[misc]
    """An intact model in the harness.

    Parameters
    ----------
    pretrained : str or Model
        A model name, a path, or a loaded model.
    profile, threads
        As for `intact.load`.
    journal : str, optional
        A folder for a journal of likelihoods, so that each is computed only once.
    seed : int
        Seed for sampled answers.
    now : str
        The time given to chat templates, such as 2026-11-20T17:45:00; by default `intact.text.template.DEFAULT_NOW`.
    """

    def __init__(
        self,
        pretrained: str | Model = "smollm2-135m-instruct",
        profile: Profile = "int8",
        threads: int | None = None,
        journal: str | None = None,
        seed: int = 0,
        now: datetime | str = DEFAULT_NOW,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(pretrained, Model):
            pretrained = load(pretrained, profile=profile, threads=threads)
        self.model = pretrained
        self._likelihoods = Likelihoods(NativeBackend(self.model), None if journal is None else Path(journal))
        self._seed, self._now = seed, read_time(now)

    @property
    def tokenizer_name(self) -> str:
        """The name under which the harness caches requests."""
        return self.model.path.name

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the source of the model's chat template if it is requested."""
        found = self.model.tokenizer.chat_template
        return found.source_text if chat_template and found is not None else None

    def apply_chat_template(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a conversation with the chat template.

        Parameters
        ----------
        add_generation_prompt : bool
            If false, leave a final assistant message unfinished: it is a task's `gen_prefix`.

        Raises
        ------
        ParameterError
            If the model has no template.
        """
        found = self.model.tokenizer.chat_template
        if found is None:
            raise ParameterError(f"{self.model.path.name} has no chat template")
        begun = not add_generation_prompt and chat_history[-1]["role"] == "assistant"
        return found.render(list(chat_history), add_generation_prompt, continue_final_message=begun, now=self._now)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and a flag that is true if greedy decoding produces it."""
        pairs = [request.arguments for request in requests]
        found = [self._likelihoods.of(context, [continuation], "")[0] for context, continuation in pairs]
        return [(one.nats, one.greedy) for one in found]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of each string, computed in windows as long as the context."""
        found = []
        for request in requests:
            tokens, _ = encode_pair(self.model.tokenizer, "", request.arguments[0])
            size, total = self.model.context - 1, 0.0
            for start in range(1, len(tokens), size):
                end = min(start + size, len(tokens))
                first = max(0, end - size - 1)
                total += likelihood(self.model, tokens[first:end], start - first).nats
            found.append(total)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue each context, up to a stop string.

        Raises
        ------
        ParameterError
            If a task uses an unsupported option.
        """
        found = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.arguments[1].items())), []).append(place)
        for places in groups.values():
            options = requests[places[0]].arguments[1]
            stops = options.get("until") or []
            stops = [stops] if isinstance(stops, str) else [stop for stop in stops if stop]
            prompts = [requests[place].arguments[0] for place in places]
            many = self.model.generate(prompts, stop=tuple(stops), seed=self._seed, **_sampling(options))
            for place, (one,) in zip(places, many, strict=True):
                found[place] = _cut(one.text, stops)
        return found


def _sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := set(options) - _KNOWN:
        raise ParameterError(
            f"generation_kwargs has the unknown key {min(unknown)!r}; available: {', '.join(sorted(_KNOWN))}"
        )
    parameters: dict[str, Any] = {"max_tokens": options.get("max_gen_toks", options.get("max_tokens", MAX_TOKENS))}
    drawn = options.get("do_sample", options.get("temperature", 0) > 0)
    parameters["temperature"] = options.get("temperature", 1.0) if drawn else 0.0
    return parameters | {name: options[name] for name in ("top_p", "top_k", "min_p") if drawn and name in options}


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
