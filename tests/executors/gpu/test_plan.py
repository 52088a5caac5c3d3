"""Plans are pure data: few dispatches, no weights, no device."""

import numpy as np
import pytest

from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.executors.gpu.matrices import join, unpack_panels
from intact.executors.gpu.planning import make_plan
from intact.executors.gpu.shaders import pack_parameters, read_shader, shader_digests, shader_names
from intact.executors.packing import pack_tensor
from intact.measure.conformance.synthetic import random_tensor
from intact.models import build_program
from support.tiny import write_tiny

LIMIT = 1 << 27


def plan_of(folder, architecture, limit=LIMIT, **shape):
    path = folder / f"{architecture}.gguf"
    program = build_program(open_checkpoint(path if path.exists() else write_tiny(path, architecture, **shape)))
    stored = {}
    return make_plan(program, 8, 16, limit, stored.__setitem__), program, stored


def test_a_layer_takes_ten_dispatches(tmp_path):
    """If its matrices have one format; each further format of a product takes one more."""
    plan, program, _ = plan_of(tmp_path, "llama", kinds=["Q4_0"])
    layer = ["norm_quantize", "product", "rotate_keep", "attend", "quantize", "product", "norm_quantize", "product",
             "gate_quantize", "product"]  # fmt: skip
    assert len(layer) == 10
    names = [one.shader for one in plan.dispatches]
    assert names == ["embed", *layer * program.layers, "norm", "quantize_wanted", "head"]


def test_a_smaller_limit_cuts_matrices_and_changes_no_number_of_outputs(tmp_path):
    whole, program, _ = plan_of(tmp_path, "llama")
    cut, _, stored = plan_of(tmp_path, "llama", 1 << 14)
    assert max(4 * len(words) for words in stored.values()) <= 1 << 14
    assert len(cut.dispatches) > len(whole.dispatches)
    for plan in (whole, cut):
        heads = [one.numbers["product"]["segments"] for one in plan.dispatches if one.shader == "head"]
        assert sum(segment["count"] for segments in heads for segment in segments) == program.vocabulary


def test_every_dispatch_has_all_parameters_of_its_shader(tmp_path):
    plan, _, _ = plan_of(tmp_path, "gemma3")
    for one in (*plan.dispatches, *plan.moves):
        shader = read_shader(one.shader)
        assert pack_parameters(shader, one.numbers)
        assert len(shader.writable) == 4 + len(one.buffers)


def test_a_missing_parameter_is_an_error():
    with pytest.raises(ValueError, match="Steer has the fields"):
        pack_parameters(read_shader("steer"), {"steer": {"place": 0, "width": 1, "vector": 0}})
    numbers = {name: 0 for name, _ in read_shader("product").structs["Product"]}
    with pytest.raises(ValueError, match="7 entries for an array of 6"):
        pack_parameters(read_shader("product"), {"product": numbers | {"segments": [{}] * 7}})


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_K", "Q6_K", "Q2_K", "F32"])
def test_cut_matrices_join_to_the_same_panels(kind):
    shape = (70, 512)
    data = np.frombuffer(random_tensor(f"cut {kind}", kind, shape, 1.0), np.uint8)
    weight = unpack_panels(pack_tensor(Tensor("w", kind, shape, data), 8, 1))
    parts = list(join([weight, weight], 4 * 2 * weight.panel_words))
    assert sum(share.outputs for part in parts for share in part.shares) == 2 * 70
    assert np.array_equal(np.concatenate([part.codes for part in parts]), np.tile(weight.codes.reshape(-1), 2))
    with pytest.raises(ValueError, match="16 outputs take"):
        list(join([weight], 64))


def test_the_shaders_digests_name_every_file():
    assert list(shader_digests()) == shader_names()
    assert {"words", "product", "attend"} <= set(shader_names())
