"""Recipes: their members and the names that TRL and mlx-lm use for them, defaults, limits, refusals."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intact._base.errors import FormatError, ParameterError
from intact.train.examples import Labelled, TrainExample
from intact.train.recipe import TASKS, make_recipe, read_recipe
from intact.train.settings import TrainSettings

ROWS = [TrainExample(np.array([1, 2], np.int32), np.array([0, 1], np.int32))] * 10


def settings_of(**given: Any) -> TrainSettings:
    return make_recipe(given, "sft").settings_for(ROWS)


def read(tmp_path: Path, text: str, task: str | None = None) -> Any:
    (tmp_path / "r.toml").write_text(text)
    return read_recipe(tmp_path / "r.toml", task)


def test_a_recipe_says_everything(tmp_path: Path) -> None:
    recipe = read(
        tmp_path,
        'task = "sft"\nmodel = "smollm2-135m-instruct"\nrate = "3e-4"\nsteps = 7\nprofile = "fp32"\n'
        '[data]\ntrain = "rows.jsonl"\nloss_on = "last"\nlongest = 99\n[parameters]\nrank = 4\nalpha = "4"\n'
        '[optimiser]\nname = "lion"\n[schedule]\nname = "cosine"\nwarmup = 2\n',
    )
    assert (recipe.task, recipe.model, recipe.train, recipe.held) == (
        "sft",
        "smollm2-135m-instruct",
        "rows.jsonl",
        None,
    )
    assert (recipe.data.loss_on, recipe.data.longest) == ("last", 99)
    settings = recipe.settings_for(ROWS)
    assert (settings.rate, settings.steps, settings.profile) == ("3/10000", 7, "fp32")
    assert (settings.parameters.name, settings.parameters.rank, settings.parameters.alpha) == ("lora", 4, "4")
    assert (settings.optimiser.name, settings.schedule.name, settings.schedule.warmup) == ("lion", "cosine", 2)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"learning_rate": 3e-4}, {"rate": "3e-4"}),
        ({"max_steps": 9}, {"steps": 9}),
        ({"iters": 9}, {"steps": 9}),
        ({"num_train_epochs": 3}, {"steps": 8}),
        ({"num_train_epochs": 3, "max_steps": -1}, {"steps": 8}),
        ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3}, {"batch": 6}),
        ({"batch_size": 2}, {"batch": 2}),
        ({"max_grad_norm": 0.5}, {"clip": "1/2"}),
        ({"max_grad_norm": 0}, {"clip": None}),
        ({"eval_steps": 5, "save_steps": 6}, {"held_every": 5, "save_every": 6}),
        ({"warmup_steps": 3, "lr_scheduler_type": "cosine"}, {"schedule": {"name": "cosine", "warmup": 3}}),
        ({"schedule": "cosine", "warmup_steps": 3}, {"schedule": {"name": "cosine", "warmup": 3}}),
        ({"optim": "adamw_torch", "weight_decay": 0.01}, {"optimiser": {"name": "adamw", "decay": "0.01"}}),
        ({"adam_beta1": 0.8}, {"optimiser": {"name": "adamw", "beta1": "0.8"}}),
        (
            {"lora_r": 4, "lora_alpha": 32, "lora_dropout": 0},
            {"parameters": {"name": "lora", "rank": 4, "alpha": "32"}},
        ),
        (
            {"target_modules": ["q_proj", "v_proj"]},
            {"parameters": {"name": "lora", "targets": "attn_q,attn_v"}},
        ),
        ({"target_modules": "all-linear"}, {}),
        (
            {
                "lora_parameters": {"rank": 4, "scale": 20.0, "dropout": 0.0, "keys": ["self_attn.q_proj"]},
                "num_layers": 2,
            },
            {"parameters": {"name": "lora", "rank": 4, "alpha": "80", "targets": "attn_q", "layers": 2}},
        ),
        ({"fine_tune_type": "full", "num_layers": -1}, None),
        ({"grad_checkpoint": True, "logging_steps": 10}, {}),
    ],
)
def test_names_of_trl_and_mlx_lm_are_understood(given: dict[str, Any], same: dict[str, Any] | None) -> None:
    if same is None:
        with pytest.raises(ParameterError, match="full has no parameter 'layers'"):
            settings_of(**given)
        return
    assert settings_of(**given) == settings_of(**same)


def test_names_for_data_and_preferences_are_understood() -> None:
    for name, value, expected in (
        ("assistant_only_loss", True, "assistant"),
        ("completion_only_loss", False, "all"),
        ("mask_prompt", True, "last"),
        ("mask_prompt", False, "all"),
    ):
        assert make_recipe({name: value}, "sft").data.loss_on == expected
    recipe = make_recipe({"max_length": 64, "data": "rows.jsonl", "beta": 0.2, "loss_type": "sigmoid"}, "preference")
    assert (recipe.data.longest, recipe.train) == (64, "rows.jsonl")
    loss = recipe.settings_for(ROWS).loss
    assert (loss.name, loss.kind, Fraction(loss.beta)) == ("preference", "dpo", Fraction(1, 5))


def test_every_kind_of_training_has_its_defaults() -> None:
    for task, defaults in TASKS.items():
        settings = make_recipe({}, task).settings_for(ROWS)
        assert (settings.loss.name, settings.parameters.name) == (defaults.loss, defaults.parameters)
        assert Fraction(settings.rate) == Fraction(defaults.rate)


def test_a_head_has_as_many_classes_as_the_data() -> None:
    rows = [Labelled(np.array([1], np.int32), label) for label in (0, 4, 2)]
    assert make_recipe({}, "heads").settings_for(rows).parameters.classes == 5
    assert make_recipe({"parameters": {"classes": 7}}, "heads").settings_for(rows).parameters.classes == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rte": 1}, "unknown member 'learning_rte': did you mean learning_rate"),
        ({"rate": "1", "learning_rate": 1}, "learning_rate is another name of rate"),
        ({"steps": 3, "epochs": 1}, "epochs and steps are both given"),
        ({"epochs": 0}, r"epochs must lie in \(0"),
        ({"lora_dropout": 0.1}, "lora_dropout must be 0"),
        ({"lora_parameters": {"dropout": 0.1}}, "training has no dropout"),
        ({"lora_parameters": {"path": "x"}}, "must be a table with"),
        ({"loss": "os.system"}, "sft has the loss cross_entropy"),
        ({"optimiser": "os.system"}, "no optimiser named 'os.system'"),
        ({"parameters": {"name": "lora", "module": "os"}}, "lora has no parameter 'module'"),
        ({"parameters": 3}, "parameters must be a name or a table"),
        ({"optimiser": 3, "weight_decay": 1}, "optimiser must be a table"),
        ({"data": "../rows.jsonl"}, "expected the name of a file or folder beside the recipe"),
        ({"data": {"train": "/etc/passwd"}}, "beside the recipe"),
        ({"data": {"held": "C:\\rows.jsonl"}}, "beside the recipe"),
        ({"data": {"train": ".."}}, "beside the recipe"),
        ({"data": {"rows": 3}}, "unknown member data.rows"),
        ({"data": {"loss_on": "users"}}, "data.loss_on must be one of"),
        ({"model": "/models/x.gguf"}, "expected a name"),
        ({"teacher": "./x.gguf"}, "expected a name"),
        ({"task": "preference"}, "is for intact train preference, not for sft"),
        ({"rate": float("nan")}, "rate must be a number"),
        ({"steps": 0}, "steps"),
        ({"mask_prompt": 1}, "mask_prompt: expected true or false"),
    ],
)
def test_wrong_members_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        settings_of(**given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate = ", "not valid TOML"),
        ("x = " + "[" * 2000 + "]" * 2000, "not valid TOML|nested too deeply"),
        ("x = [[[[[1]]]]]", "nested too deeply"),
        ("#" * 70_000, "expected at most 65,536"),
        ('rate = "1"', "task must be one of sft, preference, distil, heads"),
        ('task = "rl"', "task must be one of"),
        ('task = "sft"\nrat = 1', "r.toml: unknown member 'rat'"),
    ],
)
def test_files_are_bounded_and_errors_name_them(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((FormatError, ParameterError), match=message):
        read(tmp_path, text)
