"""Configurations: what published files leave out, and what cannot be right is refused by file and key."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from intact._base.errors import ModelError
from intact._base.plugins import Registry
from intact.checkpoints.formats.metadata import Metadata
from intact.models import ARCHITECTURES, build_program, find_architecture
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.gemma3 import Gemma3
from intact.models.needs import NEEDS
from intact.models.rotary import read_gguf_scaling, read_hf_rope
from support.adding import write_distribution
from support.folders import write_folder
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.gemma import newer_gemma

LINEAR = {"rope_type": "linear", "factor": 8.0}


class Checkpoint(NamedTuple):
    """An open file, of which only the configuration is read."""

    metadata: dict[str, Any]
    format: str = "safetensors"
    path: Path = Path("some/model")
    tensors: dict[str, Any] = {}  # noqa: RUF012


def test_gemma_s_defaults_are_those_of_transformers() -> None:
    """google/gemma-3-4b-it's text_config, and in it what is left out."""
    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": LINEAR,
        "sliding_window": 1024,
    }
    found = Gemma3.read_config(Checkpoint({"text_config": text}))
    assert (found.heads, found.kv_heads, found.head_width, found.context) == (8, 4, 256, 131072)
    assert (found.query_width, found.eps, found.rope_base, found.rope_local_base) == (256, 1e-6, 1e6, 1e4)
    assert (found.width, found.layers, found.window, sum(found.local_layers)) == (2560, 34, 1024, 29)
    bare = Gemma3.read_config(Checkpoint({"text_config": {"model_type": "gemma3_text"}}))
    assert (bare.width, bare.hidden, bare.layers, bare.window, bare.head_width) == (2304, 9216, 26, 4096, 256)


def test_transformers_has_these_defaults() -> None:
    theirs = pytest.importorskip("transformers").Gemma3TextConfig().to_dict()
    ours = {key: value for key, value in Gemma3.hf_defaults.items() if key != "rope_theta"}  # a set of its own there
    assert {key: theirs[key] for key in ours} == ours


def test_a_scalar_that_is_left_out_is_gemma_s_own() -> None:
    config = {key: value for key, value in VARIANTS["gemma3"].config.items() if key != "query_pre_attn_scalar"}
    assert Gemma3.read_config(Checkpoint(config)).query_width == 256


@pytest.mark.parametrize("value", [1e-300, 0.5, 0, None, True, [], float("nan")])
def test_a_scalar_that_makes_no_sense_is_refused(value: object) -> None:
    config = {**VARIANTS["gemma3"].config, "query_pre_attn_scalar": value}
    with pytest.raises(ModelError, match=r"some/model: query_pre_attn_scalar must be a positive number from 1 to"):
        Gemma3.read_config(Checkpoint(config))


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
@pytest.mark.parametrize("name", [np.array([1, 2]), ["z", "y"], [["llama"]], 3, None, {}])
def test_an_architecture_that_is_no_name_is_refused(kind: str, name: object) -> None:
    key = "general.architecture" if kind == "gguf" else "architectures"
    with pytest.raises(
        ModelError, match=f"some/model: {key} is .*, which is not a known architecture; intact info --architectures"
    ):
        build_program(Checkpoint({key: name}, kind))  # type: ignore[arg-type]


def test_a_config_without_a_name_is_of_no_architecture_that_only_looks_alike() -> None:
    with pytest.raises(ModelError, match="some/model: architectures is 'None', which is not a known architecture"):
        build_program(Checkpoint({"layers_block_type": ["mamba", "moe"]}, "safetensors"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.array([1, 2]), [], "dynamic", 3])
def test_a_scaling_of_unknown_type_is_refused(kind: object) -> None:
    with pytest.raises(
        ModelError, match=r"llama.rope.scaling.type must be none or linear or yarn or longrope \(other values are not "
    ):
        read_gguf_scaling(Metadata({"llama.rope.scaling.type": kind}, "some/model", prefix="llama."))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_scaling": LINEAR | {"partial_rotary_factor": 0.5}}, "rope scaling: partial_rotary_factor is 0.5"),
        ({"rope_parameters": LINEAR | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}, "rope_scaling": LINEAR}, "partial_rotary_factor is 0.5"),
        ({"rope_scaling": {"rope_type": ["linear"]}}, "rope scaling: rope_type must be default or dynamic or linear"),
        (
            {"rope_scaling": {"type": "ntk", "factor": 2.0}},
            "rope scaling: type must be default or dynamic or linear or",
        ),
        ({"rope_scaling": LINEAR | {"alpha": 50.0}}, "rope scaling: alpha is 50.0, which is not supported"),
        ({"rope_scaling": {"rope_type": "dynamic", "alpha": 0.5}}, "rope scaling: alpha must be a positive number"),
        ({"rope_parameters": {"llama_4_scaling_beta": 0.1}}, "llama_4_scaling_beta is 0.1, which is not supported"),
    ],
)
def test_rotary_keys_that_would_be_ignored_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match="some/model: .*" + message):
        read_hf_rope(Metadata(changes, "some/model"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("rope_type", "yarn"), ("rope_type", "linear"), ("type", "linear"), ("factor", 2), ("partial_rotary_factor", 0.5)],
)
def test_local_layers_have_plain_rotations(key: str, value: object) -> None:
    config = json.loads(json.dumps(newer_gemma().config))
    config["text_config"]["rope_parameters"]["sliding_attention"][key] = value
    with pytest.raises(ModelError, match=f"rope_parameters: sliding_attention: {key} "):
        Gemma3.read_config(Checkpoint(config))


def read(name: str, **changes: Any) -> Config:
    """The configuration of a variant, with other values of some keys; None for a key that is left out."""
    changed = (dict(VARIANTS[name].config) | changes).items()
    config = {key: value for key, value in changed if value is not None or key not in changes}
    return find_architecture(Checkpoint(config)).read_config(Checkpoint(config))


def test_a_stretched_base_is_the_float32_that_files_hold() -> None:
    scaling = {"type": "dynamic", "alpha": 1000.0, "factor": 1.0}
    found = read("hunyuan-dense", head_dim=128, rope_scaling=scaling).rope_base
    assert found == np.float32(10000 * 1000 ** (128 / 126)) == 11158840.0
    assert read("hunyuan-dense", rope_scaling=scaling | {"alpha": 1.0}).rope_base == 10000.0


def test_dynamic_scaling_begins_where_the_context_ends() -> None:
    found, plain = read("internlm3"), read("internlm3", rope_scaling=None)
    assert found == plain
    assert found.context == VARIANTS["internlm3"].config["max_position_embeddings"]


def test_the_context_ends_where_a_temperature_begins() -> None:
    assert read("ministral3").context == 64
    rope = dict(VARIANTS["ministral3"].config["rope_parameters"])
    assert read("ministral3", rope_parameters=rope | {"llama_4_scaling_beta": 0}).context == 256
    rope["original_max_position_embeddings"] = "64"
    with pytest.raises(ModelError, match="needs rope scaling with an original context"):
        read("ministral3", rope_parameters=rope)


@pytest.mark.parametrize("pattern", ["LLLG", 4, None])
def test_a_pattern_of_windows_is_letters_or_a_number(pattern: str | int | None) -> None:
    changes = {"sliding_window_pattern": pattern, "layer_types": None, "num_hidden_layers": 8}
    found = read("exaone4", **changes)
    assert found.local_layers == (True, True, True, False) * 2
    assert found.unrotated_layers == (3, 7)
    with pytest.raises(
        ModelError, match="sliding_window_pattern must be an integer, or a string of the letters L and G, found 'LLx'"
    ):
        read("exaone4", **changes | {"sliding_window_pattern": "LLx"})


def test_a_window_as_long_as_the_context_still_says_which_layers_have_positions() -> None:
    found = read("exaone4", sliding_window=128)
    assert (found.window, found.local_layers, found.unrotated_layers) == (0, (), (3,))
    assert read("exaone4-global").unrotated_layers == ()


def test_layers_without_positions_are_those_of_the_list_or_each_fourth() -> None:
    assert read("smollm3", no_rope_layers=None, num_hidden_layers=9).unrotated_layers == (3, 7)
    assert read("smollm3", no_rope_layers=None, no_rope_layer_interval=2).unrotated_layers == (1, 3)
    assert read("smollm3", no_rope_layers=[0, 1, 1, 0]).unrotated_layers == (0, 3)
    for wrong in ([1, 1, 1], [1, 1, 1, 2], 4):
        with pytest.raises(ModelError, match="no_rope_layers must be 0 or 1 for each of 4 layers"):
            read("smollm3", no_rope_layers=wrong)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("minicpm", "sparse_config", {"window": 1}),
        ("hunyuan-dense", "use_qk_norm", False),
        ("minicpm", "num_experts", 8),
        ("minimax-m2", "use_routing_bias", False),
        ("minimax-m2", "shared_intermediate_size", 64),
        ("hunyuan-moe", "use_mla", True),
        ("gptneox", "use_parallel_residual", False),
        ("iquest-coder", "clip_qkv", 8.0),
    ],
)
def test_features_of_a_family_that_are_not_there_are_refused(name: str, key: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"some/model: {key} is .*, which is not supported"):
        read(name, **{key: value})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("minimax-m2", {"attn_type_list": [1, 0]}, r"attn_type_list must be 1 for each layer"),
        ("minimax-m2", {"scoring_func": "softmax"}, r"scoring_func must be sigmoid"),
        ("bailingmoe2", {"score_function": "softmax"}, r"score_function must be sigmoid"),
        ("bailingmoe2", {"moe_shared_expert_intermediate_size": 96}, r"moe_shared_expert_intermediate_size must be 48"),
        ("hunyuan-moe", {"moe_topk": [2, 3]}, r"moe_topk must be an integer, or the same integer for each layer"),
        ("hunyuan-moe", {"moe_intermediate_size": []}, r"moe_intermediate_size must be an integer, or the same"),
        (
            "exaone-moe",
            {"mlp_layer_types": ["dense", "moe", "sparse"]},
            r"mlp_layer_types must be a list with dense or sparse",
        ),
        ("dots1", {"layer_types": ["sliding_attention"] * 3}, r"layer_types must be a list with"),
        ("glm4moe", {"num_nextn_predict_layers": -1}, r"num_nextn_predict_layers must be an integer from 0"),
        ("gptneox", {"hidden_act": "gelu_fast"}, r"hidden_act must be gelu "),
    ],
)
def test_values_that_no_mixture_or_net_has_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    config = {**VARIANTS[name].config, **changes}
    with pytest.raises(ModelError, match=f"some/model: {message}"):
        build_program(Checkpoint(config))


def test_what_a_file_leaves_out_or_has_as_null_is_as_usual() -> None:
    for config in (
        VARIANTS["cwm"].config | {"layer_types": None},
        {k: v for k, v in VARIANTS["cwm"].config.items() if k != "layer_types"},
    ):
        found = find_architecture(Checkpoint(config)).read_config(Checkpoint(config))
        assert found.is_local == (False, True, True)
    minimax = VARIANTS["minimax-m2"].config | {"partial_rotary_factor": None}
    assert find_architecture(Checkpoint(minimax)).read_config(Checkpoint(minimax)).rope_width == 16


def test_first_layers_without_experts_have_two_names() -> None:
    plain = read("exaone-moe", mlp_layer_types=None)
    other = read("exaone-moe", mlp_layer_types=None, first_k_dense_replace=None, first_last_k_dense_replace=2)
    assert plain.mixture is not None
    assert other.mixture is not None
    assert (plain.mixture.dense, other.mixture.dense) == ((0,), (0, 1))


def test_numbers_that_stand_for_each_layer_are_those_of_all() -> None:
    listed = read("hunyuan-moe")
    assert listed == read("hunyuan-moe", moe_topk=2, moe_intermediate_size=112, num_shared_expert=1)
    assert listed.mixture is not None
    assert (listed.mixture.used, listed.mixture.hidden, listed.mixture.shared) == (2, 112, 112)


def test_files_of_minicpm_must_say_their_factors() -> None:
    with pytest.raises(ModelError, match=r"minicpm\.embedding_scale is missing; convert the model again"):
        build_program(Checkpoint({"general.architecture": "minicpm"}, "gguf"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind", "needs"),
    [
        ("llama4", "gguf", "another router of experts"),
        ("gpt2", "gguf", "a reader of its fused or transposed matrices"),
        ("rwkv7", "gguf", "a recurrent state of another kind"),
    ],
)
def test_an_architecture_that_cannot_run_names_what_it_needs(name: str, kind: str, needs: str) -> None:
    key, value = ("general.architecture", name) if kind == "gguf" else ("architectures", [name])
    with pytest.raises(ModelError, match=rf"\(it needs {needs}, which intact does not have\), which is not a known"):
        build_program(Checkpoint({key: value}, kind))  # type: ignore[arg-type]


def test_no_architecture_is_both_there_and_missing() -> None:
    for architecture in ARCHITECTURES.values():
        assert not NEEDS.keys() & {architecture.gguf, *architecture.hf}


def test_whoever_claims_files_of_another_name_is_listed_there() -> None:
    for name, architecture in ARCHITECTURES.items():
        if architecture.gguf != name and architecture.claims.__func__ is not Decoder.claims.__func__:
            assert name in ARCHITECTURES[architecture.gguf].gguf_shared
    for architecture in ARCHITECTURES.values():
        assert all(ARCHITECTURES[name].gguf == architecture.gguf for name in vars(architecture).get("gguf_shared", ()))


@pytest.mark.parametrize("kind", ["gguf", "folder"])
def test_a_checkpoint_imports_its_own_architecture_alone(kind: str, tmp_path: Path) -> None:
    path = (
        write_tiny(tmp_path / "tiny.gguf")
        if kind == "gguf"
        else write_folder(tmp_path / "folder", VARIANTS["llama"], "own")
    )
    code = (
        "import sys\nfrom pathlib import Path\nfrom intact.checkpoints.formats import open_checkpoint\n"
        "from intact.models import find_architecture\n"
        "print(find_architecture(open_checkpoint(Path(sys.argv[1]))).__name__)\n"
        "print([name for name in ('gemma3', 'qwen2', 'mamba') if f'intact.models.{name}' in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout == "Llama\n[]\n"


def test_reading_sources_finds_the_architectures_that_importing_all_finds() -> None:
    for architecture in ARCHITECTURES.values():
        for name in architecture.hf:
            fresh = Registry(ARCHITECTURES.group, ARCHITECTURES.package, ARCHITECTURES._name_of)
            found = {own for own, one in fresh.naming([name]).items() if name in one.hf}
            assert found == {own for own, one in ARCHITECTURES.items() if name in one.hf}


def test_another_package_with_an_own_name_breaks_no_file(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    write_distribution(
        tmp_path, "mine", "intact.architectures", {"llama": "of_mine:Mine"}, {"of_mine": "raise OSError('no disk')"}
    )
    code = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "from intact.checkpoints.formats import open_checkpoint\n"
        "from intact.models import ARCHITECTURES, find_architecture\n"
        "print(find_architecture(open_checkpoint(Path(sys.argv[1]))).__name__, *ARCHITECTURES.problems())"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "Llama llama\n"
