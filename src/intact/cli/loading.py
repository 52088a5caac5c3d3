"""Options for commands that load models: a single model, a method's models, and a mix."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.options import (
    AdapterOption,
    CacheOption,
    ContinuesOption,
    DrafterOption,
    DraftModelOption,
    ExecutorOption,
    FixedNowOption,
    GpuMemoryOption,
    KvOption,
    MixOption,
    PartnerModelOption,
    PipelineParallelOption,
    PrefixCacheBytesOption,
    PrefixCacheOption,
    ProfileOption,
    RecheckOption,
    ShadowOption,
    TaskSystemOption,
    TensorParallelOption,
    ThinkingOption,
    ThreadsOption,
    WeightsMemoryOption,
    WithOption,
    as_bytes,
    coded,
    mix_options,
    pair,
    prefix_cache_options,
)

if TYPE_CHECKING:
    from intact.reason.backends.text_mix import TextMix
    from intact.reason.thinking import ThinkingMode


def short_name(model: str) -> str:
    """Return a model's name without its folder."""
    return Path(model).name if Path(model).exists() else model


@dataclass(frozen=True)
class LoadOptions:
    """Options for loading a model."""

    profile: ProfileOption = "int8"
    kv: KvOption = None
    threads: ThreadsOption = None
    executor: ExecutorOption = "native"
    gpu_memory: GpuMemoryOption = None
    recheck: RecheckOption = None
    cache: CacheOption = None
    drafter: DrafterOption = None
    draft_model: DraftModelOption = None
    adapter: AdapterOption = None
    prefix_cache: PrefixCacheOption = None
    prefix_cache_bytes: PrefixCacheBytesOption = None
    tensor_parallel: TensorParallelOption = None
    pipeline_parallel: PipelineParallelOption = None
    weights_memory: WeightsMemoryOption = None

    @property
    def coded_profile(self) -> str:
        """The profile, combined with the requested KV cache codec."""
        return coded(self.profile, self.kv)

    @property
    def loading(self) -> dict[str, Any]:
        """The arguments of `fetch.load` that all models of a command share."""
        kept = prefix_cache_options(self.prefix_cache, self.prefix_cache_bytes)
        return {
            "profile": self.coded_profile,
            "threads": self.threads,
            "cache_bytes": as_bytes(self.cache),
            **self.placement,
            **kept,
        }

    @property
    def placement(self) -> dict[str, Any]:
        """The given options that say where models run."""
        names = ("executor", "gpu_memory", "recheck")
        return {name: getattr(self, name) for name in names if name in self.given}

    @property
    def given(self) -> list[str]:
        """The names of the options that differ from their defaults."""
        return [one.name for one in fields(self) if getattr(self, one.name) != one.default]

    @property
    def without_mix(self) -> dict[str, Any]:
        """The options that cannot be combined with a mix; None for options that were not given."""
        return {"drafter": self.drafter, "draft_model": self.draft_model, "adapter": self.adapter}

    @property
    def first(self) -> dict[str, Any]:
        """The given options that apply only to the first model."""
        names = ("drafter", "draft_model", "adapter", "tensor_parallel", "pipeline_parallel", "weights_memory")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class ModelOptions(LoadOptions):
    """Options for commands that run a method: loading options, and the models other than the first."""

    others: WithOption = None
    now: FixedNowOption = None
    continues: ContinuesOption = "no"

    @property
    def named(self) -> dict[str, str]:
        """The other models, keyed by the names that the method uses for them."""
        return dict(map(pair, self.others or []))

    def opened(
        self,
        named: Mapping[str, str],
        mixes: MixOptions | None = None,
        prompts: PromptOptions | None = None,
        **loading: Any,
    ) -> AbstractContextManager[dict[str, Any]]:
        """Load models by name, and open a back end for each.

        Draft model, adapter, other processes, weights memory and the mix apply to the first model only.
        """
        from intact.solving.run import is_address, opened

        arguments, models = self.loading | loading, {}
        thinking = None if prompts is None else prompts.mode()
        mix = None if mixes is None else mixes.text_mix
        for i, (name, one) in enumerate(named.items()):
            own: dict[str, Any] = {} if i else self.first
            if not i and mixes is not None and mix is not None:
                if is_address(one):
                    raise ParameterError(f"--mix needs a local model, but {one} is on a server")
                own |= {"partners": [fetch.locate(other) for other in mixes.partners or ()]}
            if (option := next(iter(own), None)) and is_address(one):
                option = option.replace("_", "-")
                raise ParameterError(f"--{option} needs a local model, but {one} is on a server")
            models[name] = one if is_address(one) else fetch.load(one, **own, **arguments)
        return opened(models, self.continues, self.now, mix, thinking=thinking)


@dataclass(frozen=True)
class PromptOptions:
    """The parts of a prompt other than the question: the system message, and the chat template's thinking switch."""

    system: TaskSystemOption = None
    thinking: ThinkingOption = None

    def mode(self) -> ThinkingMode | None:
        """Return the thinking mode of the models; None if not given.

        Raises
        ------
        ParameterError
            If the value is invalid.
        """
        if self.thinking is None:
            return None
        from intact.reason.thinking import ThinkingMode

        return ThinkingMode.parse(self.thinking)


@dataclass(frozen=True)
class MixOptions:
    """The mix that a method's completions are sampled from."""

    mix: MixOption = None
    shadow: ShadowOption = None
    partners: PartnerModelOption = None

    def check(self, models: ModelOptions, **excluded: object) -> None:
        """Raise, before any work, if the mix is unknown or cannot be combined with the named options."""
        mix_options(self.mix, self.shadow, self.partners, "--partner", **models.without_mix, **excluded)

    @property
    def text_mix(self) -> TextMix | None:
        """The mix in the form that back ends accept."""
        if self.mix is None:
            return None
        from intact.engine.mixes import read_mix
        from intact.reason.backends.text_mix import TextMix

        return TextMix.of(read_mix(self.mix), self.shadow)
