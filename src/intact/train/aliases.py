"""Names of TRL, Transformers, PEFT and mlx-lm for the settings of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact.models.names import HF_NAMES
from intact.train.rationals import rational

HARMLESS: Final = frozenset(
    {"gradient_checkpointing", "grad_checkpoint", "logging_steps", "steps_per_report", "report_to", "train"}
)
"""Settings of others that change no result here, and are ignored."""


class Alias(NamedTuple):
    """The setting that another name stands for, as a path, and the conversion of its value."""

    path: tuple[str, ...]
    convert: Callable[[Any], Any] = lambda value: value


def _renamed(names: Mapping[str, Any], what: str) -> Callable[[Any], Any]:
    """Return a conversion of names; unknown ones stay, and are refused with all others."""

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise ParameterError(f"{what} must be a name, got {value!r:.40}")
        return names.get(value, value)

    return convert


def _choice(yes: str, no: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if not isinstance(value, bool):
            raise ParameterError(f"expected true or false, got {value!r:.40}")
        return yes if value else no

    return convert


def _stems(value: Any) -> Any:
    """Return names of matrices as GGUF files have them; q_proj is attn_q."""
    ends = {hf.rpartition(".")[2]: stem for stem, hf in HF_NAMES.items()} | {"all-linear": "all"}
    if isinstance(value, str):
        return ends.get(value, value)
    names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    if not names or len(names) != len(value):
        raise ParameterError(f"target_modules must be names of matrices, got {value!r:.60}")
    return ",".join(ends.get(name.rpartition(".")[2], name) for name in names)


def _none_if_zero(value: Any) -> Any:
    return None if value == 0 and not isinstance(value, bool) else value


def _all_if_negative(value: Any) -> Any:
    return 0 if value == -1 else value


_SCHEDULES: Final = {"constant_with_warmup": "constant", "warmup_stable_decay": "wsd", "cosine_decay": "cosine"}
_OPTIMISERS: Final = {
    "adamw_torch": "adamw", "adamw_torch_fused": "adamw", "adamw_hf": "adamw", "lion_32bit": "lion",
    "sgd": "momentum",
}  # fmt: skip
_KINDS: Final = {"sigmoid": "dpo"}
ALIASES: Final[Mapping[str, Alias]] = {
    "learning_rate": Alias(("rate",)),
    "max_steps": Alias(("steps",)),
    "iters": Alias(("steps",)),
    "num_train_epochs": Alias(("epochs",)),
    "batch_size": Alias(("batch",)),
    "per_device_train_batch_size": Alias(("batch",)),
    "max_grad_norm": Alias(("clip",), _none_if_zero),
    "eval_steps": Alias(("held_every",)),
    "steps_per_eval": Alias(("held_every",)),
    "save_steps": Alias(("save_every",)),
    "model_name_or_path": Alias(("model",)),
    "warmup_steps": Alias(("schedule", "warmup")),
    "lr_scheduler_type": Alias(("schedule", "name"), _renamed(_SCHEDULES, "lr_scheduler_type")),
    "optim": Alias(("optimiser", "name"), _renamed(_OPTIMISERS, "optim")),
    "optimizer": Alias(("optimiser", "name"), _renamed(_OPTIMISERS, "optimizer")),
    "adam_beta1": Alias(("optimiser", "beta1")),
    "adam_beta2": Alias(("optimiser", "beta2")),
    "adam_epsilon": Alias(("optimiser", "epsilon")),
    "weight_decay": Alias(("optimiser", "decay")),
    "r": Alias(("parameters", "rank")),
    "lora_r": Alias(("parameters", "rank")),
    "lora_alpha": Alias(("parameters", "alpha"), str),
    "target_modules": Alias(("parameters", "targets"), _stems),
    "lora_target_modules": Alias(("parameters", "targets"), _stems),
    "num_layers": Alias(("parameters", "layers"), _all_if_negative),
    "fine_tune_type": Alias(("parameters", "name")),
    "beta": Alias(("loss", "beta")),
    "simpo_gamma": Alias(("loss", "gamma")),
    "loss_type": Alias(("loss", "kind"), _renamed(_KINDS, "loss_type")),
    "max_length": Alias(("data", "longest")),
    "max_seq_length": Alias(("data", "longest")),
    "assistant_only_loss": Alias(("data", "loss_on"), _choice("assistant", "all")),
    "completion_only_loss": Alias(("data", "loss_on"), _choice("assistant", "all")),
    "mask_prompt": Alias(("data", "loss_on"), _choice("last", "all")),
}
"""Settings by their other names."""


def without_aliases(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with every setting under its own name.

    Raises
    ------
    ParameterError
        If a setting is given under two names, or asks for something that training does not do.
    """
    found: dict[str, Any] = {key: dict(item) if isinstance(item, dict) else item for key, item in given.items()}
    for name in HARMLESS & set(found):
        del found[name]
    times = found.pop("gradient_accumulation_steps", 1)
    for own in ("lora_dropout", "label_smoothing"):
        if found.pop(own, 0) != 0:
            raise ParameterError(f"{own} must be 0: training has no {own.replace('_', ' ')}")
    mlx = found.pop("lora_parameters", None)
    for name in [name for name in found if name in ALIASES]:
        alias = ALIASES[name]
        try:
            value = alias.convert(found.pop(name))
        except ParameterError as error:
            raise ParameterError(f"{name}: {error}") from error
        if name == "max_steps" and value == -1:  # TRL's default, which leaves the number to the epochs
            continue
        _put(found, alias.path, value, name)
    if mlx is not None:
        _put_mlx(found, mlx)
    if times != 1:
        batch = found.get("batch", 4)
        if type(times) is not int or type(batch) is not int or times < 1:
            raise ParameterError(f"gradient_accumulation_steps must be a natural number, got {times!r:.40}")
        found["batch"] = batch * times  # sums over a batch do not depend on how it is divided
    return found


def _put(found: dict[str, Any], path: tuple[str, ...], value: Any, name: str) -> None:
    """Set a value at a path of tables; a piece given by name alone becomes a table."""
    table = found
    for key in path[:-1]:
        inner = table.get(key, {})
        inner = {"train": inner} if key == "data" and isinstance(inner, str) else inner
        table[key] = inner = {"name": inner} if isinstance(inner, str) else inner
        if not isinstance(inner, dict):
            raise ParameterError(f"{key} must be a table, got {inner!r:.40}")
        table = inner
    if path[-1] in table:
        raise ParameterError(f"{name} is another name of {'.'.join(path)}; give only one of them")
    table[path[-1]] = value


def _put_mlx(found: dict[str, Any], given: Any) -> None:
    """Set what mlx-lm's `lora_parameters` says; its scale is alpha / rank."""
    known = {"rank", "scale", "dropout", "keys"}
    if not isinstance(given, dict) or set(given) - known:
        raise ParameterError(f"lora_parameters must be a table with {', '.join(sorted(known))}, got {given!r:.60}")
    if given.get("dropout", 0) != 0:
        raise ParameterError("lora_parameters.dropout must be 0: training has no dropout")
    rank = given.get("rank", 8)
    if type(rank) is not int:
        raise ParameterError(f"lora_parameters.rank must be an integer, got {rank!r:.40}")
    _put(found, ("parameters", "rank"), rank, "lora_parameters.rank")
    scale: Fraction = rational("lora_parameters.scale", given.get("scale", 20))
    _put(found, ("parameters", "alpha"), str(scale * rank), "lora_parameters.scale")
    if "keys" in given:
        _put(found, ("parameters", "targets"), _stems(given["keys"]), "lora_parameters.keys")
