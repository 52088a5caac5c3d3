"""DeepSeek's latent attention: what its files may hold, and that nothing that must not matter changes a bit."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models import build_program, find_architecture, split_matrices
from intact.models.aspects.step import SequenceChunk
from intact.models.decoder import inverse_root
from intact.models.ops import Attend, Experts, Norm
from intact.numerics.attention import attend, quantize_keys, quantize_query, quantize_values, score_scale
from intact.numerics.scatter import scatter, scatter_index
from intact.quantizing import quantize
from support.tiers import tiers_with
from support.tiny import write_tiny
from support.variants import VARIANTS
from support.variants.form import TOKENS

TIERS = available_tiers()
NAMES = ("deepseek2", "deepseek3")


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
@pytest.mark.parametrize("name", NAMES)
def test_every_tier_equals_the_reference_in_any_chunks(tmp_path: Path, name: str, tier: str, threads: int) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", name)) as checkpoint:
        program = build_program(checkpoint)
        pages = np.array([1, 0], np.int32)
        text = np.array(TOKENS[:20], np.int32)
        wanted = {}
        for executor, size in (
            (ReferenceExecutor(program), 20),
            *((NativeExecutor(program, "int8", threads, tier), size) for size in (1, 7, 20)),
        ):
            executor.reserve_pages(2)
            for at in range(0, 20, size):
                part = text[at : at + size]
                logits = executor.step([SequenceChunk(at, part, pages)], np.array([len(part) - 1]))
            wanted[type(executor).__name__, size] = np.array(logits[0])
    first = next(iter(wanted.values()))
    assert len(wanted) == 4
    assert all(np.array_equal(row, first) for row in wanted.values())


@pytest.mark.native
def test_drafts_and_forks_change_no_token(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "deepseek3")
    prompt = [5, 9, 5, 9, 5, 9, 5, 9, 5]
    asked = {"n": 3, "temperature": 0.5, "max_tokens": 24, "seed": 3}
    texts = [
        [c.tokens for c in intact.load(path, threads=threads, drafter=drafter).generate([prompt], **asked)[0]]
        for threads, drafter in ((1, "off"), (2, "auto"), (1, "stand"))
    ]
    assert texts[0] == texts[1] == texts[2]


def test_the_program_is_that_of_the_page(tmp_path: Path) -> None:
    """Widths, factor of the scores, epsilons, groups: docs/spec/numerics.md, section 9."""
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "deepseek3")) as checkpoint:
        program = build_program(checkpoint)
    attend = next(op for op in program.ops if isinstance(op, Attend))
    m = Fraction(float(np.float32(1 + 0.707 * np.log(4.0) / 10)))
    assert (attend.heads, attend.kv_heads, attend.width) == (3, 3, 24)
    assert attend.scale == inverse_root(24) * m * m
    assert {op.eps for op in program.ops if isinstance(op, Norm) and op.heads} == {1e-6}
    experts = next(op for op in program.ops if isinstance(op, Experts))
    assert (experts.groups, experts.groups_used, experts.factor) == (4, 2, Fraction(5, 2))
    assert [len(turns) for turns in program.rotations] == [4]
    assert program.rotation_factors == ()  # mscale is mscale_all_dim


def test_a_place_copies_columns_of_heads() -> None:
    x = np.array([[1, 2, 3, 4, 5]])
    index = scatter_index(6, 2, 2, source_step=2, source_start=1, target_step=3, target_start=0)
    assert index.tolist() == [1, 2, -1, 3, 4, -1]
    assert scatter(x, index).tolist() == [[2, 3, 0, 4, 5, 0]]
    assert scatter(x, index, np.array([[9, 9, 7, 9, 9, 8]])).tolist() == [[2, 3, 7, 4, 5, 8]]


def test_zeros_behind_values_change_no_bit() -> None:
    rng = np.random.default_rng(1)
    query = quantize_query(rng.integers(-(1 << 20), 1 << 20, 24), score_scale(inverse_root(24)))
    keys = quantize_keys(rng.integers(-(1 << 20), 1 << 20, (9, 24)))
    values = rng.integers(-(1 << 20), 1 << 20, (9, 16))
    narrow = attend(query, keys, quantize_values(values))
    wide = attend(query, keys, quantize_values(np.pad(values, ((0, 0), (0, 8)))))
    assert wide.tolist() == [*narrow.tolist(), *[0] * 8]


def _config(name: str, **changes: Any) -> Checkpoint:
    return Checkpoint(Path("it"), "safetensors", {**VARIANTS[name].config, **changes}, {})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("deepseek-v2", {"routed_scaling_factor": 16.0}, "routed_scaling_factor must be a positive number"),
        ("deepseek-v2", {"norm_topk_prob": True}, "norm_topk_prob"),
        ("deepseek-v2", {"scoring_func": "sigmoid"}, "scoring_func must be softmax"),
        ("deepseek-v2", {"n_group": 4}, "n_group must be a number of groups that divides 6 experts"),
        ("deepseek-v2", {"n_group": 6, "topk_group": 3}, "n_group must be a number of groups that divides 6 experts"),
        ("deepseek-v2", {"moe_layer_freq": 2}, "moe_layer_freq"),
        ("deepseek-v3", {"topk_method": "greedy"}, "topk_method must be noaux_tc"),
        ("deepseek-v3", {"topk_group": 1, "num_experts_per_tok": 4}, "1 groups have at least 4"),
        ("deepseek-v3", {"rope_interleave": False}, "rope_interleave"),
        ("deepseek-v3", {"num_key_value_heads": 2}, "num_key_value_heads must be 4"),
        ("deepseek-v3", {"v_head_dim": 40}, "keys of width 24 need narrower values of 40"),
        (
            "glm4-moe-lite",
            {"mlp_layer_types": ["dense"]},
            "mlp_layer_types must be a list with dense or sparse for each of 3 layers",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(name: str, changes: dict[str, Any], message: str) -> None:
    checkpoint = _config(name, **changes)
    with pytest.raises(ModelError, match=message):
        find_architecture(checkpoint).read_config(checkpoint)


def test_a_greedy_choice_knows_no_groups() -> None:
    checkpoint = _config("deepseek-v2", topk_method="greedy")
    mixture = find_architecture(checkpoint).read_config(checkpoint).mixture
    assert mixture is not None
    assert (mixture.groups, mixture.groups_used) == (1, 1)


def test_a_misshapen_matrix_of_keys_and_values_is_named(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "deepseek2", metadata={"deepseek2.attention.value_length": 8})
    with pytest.raises(ModelError, match=r"attn_kv_b.weight has shape \(96, 64\), expected \(72, 64\)"):
        intact.load(path)


def test_a_quantised_folder_has_keys_and_values_as_they_are_in_the_program(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "deepseek3", ("F32",))
    names = set(split_matrices(open_checkpoint(path)).tensors)
    assert {"blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight"} <= names
    assert "blk.0.attn_kv_b.weight" not in names
    quantize(path, tmp_path / "out", "int8-32")
    exact, fast = (intact.load(one).logits(TOKENS) for one in (path, tmp_path / "out"))
    assert np.median(np.abs(exact - fast).max(axis=1)) < 0.05 * np.ptp(exact)  # at some places other experts are chosen
