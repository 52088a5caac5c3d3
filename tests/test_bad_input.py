"""Models that cannot be right: each is refused with an error that names file and tensor or key, and none crashes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError, IntactError, ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.reason import Problem
from support.folders import write_folder
from support.gguf_writer import write_gguf
from support.tiny import IQ_KINDS, K_KINDS, KINDS, write_tiny
from support.variants import VARIANTS

PROFILES = ("int8", "fp32")


class Parts:
    """A model's metadata and tensors, to be spoiled and written again."""

    def __init__(self, path):
        with open_checkpoint(path) as checkpoint:
            self.metadata = dict(checkpoint.metadata)
            self.tensors = {t.name: (t.kind, t.shape, t.data.tobytes()) for t in checkpoint.tensors.values()}
        self.path = path

    def write(self, **changes):
        """Write with metadata changed (dots as double underscores); None leaves a key out."""
        metadata = self.metadata | {key.replace("__", "."): value for key, value in changes.items()}
        metadata = {key: value for key, value in metadata.items() if value is not None}
        return write_gguf(self.path.with_name("spoiled.gguf"), metadata, self.tensors)

    def spoil(self, name, value, at=0, half=None):
        """Put a float, or the exponent that means one, into a tensor's bytes; of its first block as the given half."""
        kind, shape, data = self.tensors[name]
        bad = bytearray(data)
        if kind == "F32":
            bad[at : at + 4] = np.float32(value).tobytes()
        elif kind == "BF16":
            bad[at : at + 2] = (np.array([value], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        elif kind == "MXFP4":
            bad[at] = 255
        elif half is None:
            bad[at : at + 2] = np.float16(value).tobytes()
        else:
            half.write(np.frombuffer(bad, np.uint8), np.float16(value).view(np.uint16))
        self.tensors[name] = (kind, shape, bytes(bad))

    def find(self, kind):
        return next(name for name, (own, shape, _) in self.tensors.items() if own == kind and len(shape) == 2)


@pytest.fixture
def parts(tmp_path):
    return Parts(write_tiny(tmp_path / "tiny.gguf", "qwen2"))


@pytest.fixture
def gemma(tmp_path):
    return Parts(write_tiny(tmp_path / "tiny.gguf", "gemma3"))


def refused(path, *words, error=ModelError, **options):
    """Loading fails with an error that names the file, unless only the tensor is known, and all the words."""
    with pytest.raises(error) as caught:
        intact.load(path, **options)
    assert isinstance(caught.value, IntactError)
    message = str(caught.value)
    assert len(message) < 500
    for word in (*words, str(path)):
        assert word in message, message


def test_the_unspoiled_parts_load(parts, gemma):
    for each in (parts, gemma):
        intact.load(each.write())


EVERY_TENSOR = (
    "token_embd.weight", "blk.0.attn_norm.weight", "blk.1.attn_q.weight", "blk.1.attn_k.bias",
    "blk.0.attn_output.weight",
    "blk.1.ffn_norm.weight", "blk.0.ffn_gate.weight", "blk.1.ffn_down.weight", "output_norm.weight",
)  # fmt: skip


@pytest.mark.parametrize("name", EVERY_TENSOR)
def test_a_missing_tensor(parts, name):
    del parts.tensors[name]
    refused(parts.write(), name, "missing")


@pytest.mark.parametrize("name", EVERY_TENSOR[1:])
def test_a_misshapen_tensor(parts, name):
    shape = parts.tensors[name][1]
    parts.tensors[name] = ("F32", (shape[0] + 1, *shape[1:]), bytes(4 * (shape[0] + 1) * int(np.prod(shape[1:]))))
    refused(parts.write(), name, "shape", str(shape[0]))
    parts.tensors[name] = ("F32", (*shape, 1), bytes(4 * int(np.prod(shape))))
    refused(parts.write(), name, "shape")
    parts.tensors[name] = ("F32", (0,), b"")
    refused(parts.write(), name, "shape", error=FormatError)


def test_a_transposed_matrix(parts):
    rows, columns = parts.tensors["blk.0.ffn_down.weight"][1]
    parts.tensors["blk.0.ffn_down.weight"] = ("F32", (columns, rows), bytes(4 * rows * columns))
    refused(parts.write(), "blk.0.ffn_down.weight", f"({columns}, {rows})", f"({rows}, {columns})")


@pytest.mark.parametrize("kind", ["I32", "Q4_0", "F64"])
def test_a_gain_that_is_no_float(parts, kind):
    size = {"I32": 4 * 96, "Q4_0": 18 * 3, "F64": 8 * 96}[kind]
    parts.tensors["output_norm.weight"] = (kind, (96,), bytes(size))
    refused(parts.write(), "output_norm.weight", kind)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", ["I8", "I32", "F64"])
def test_a_matrix_of_a_kind_that_is_not_computed_with(parts, kind, profile):
    name = "blk.0.ffn_up.weight"
    shape = parts.tensors[name][1]
    parts.tensors[name] = (kind, shape, bytes(int(np.prod(shape)) * {"I8": 1, "I32": 4, "F64": 8}[kind]))
    refused(parts.write(), name, kind, profile=profile)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["output_norm.weight", "blk.1.attn_norm.weight", "blk.0.attn_k.bias"])
def test_a_gain_or_bias_that_is_not_finite(parts, name, value, profile):
    parts.spoil(name, value, at=4 * 5)
    refused(parts.write(), name, "NaN or infinite", "5", profile=profile)


@pytest.mark.parametrize("executor", ["int8", "fp32", "reference"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", sorted({*KINDS, *K_KINDS, *IQ_KINDS}))
def test_a_weight_or_scale_that_is_not_finite(tmp_path, kind, value, executor):
    from intact.numerics.weight_formats import BLOCK_FORMATS

    halves = BLOCK_FORMATS[kind].halves if kind in BLOCK_FORMATS else ()
    parts = Parts(write_tiny(tmp_path / "tiny.gguf", kinds=[kind], layers=1, heads=4, head_width=64))
    for half in halves or (None,):
        for name in ("blk.0.ffn_down.weight", "output.weight", "token_embd.weight"):
            spoiled = Parts(parts.path)
            spoiled.spoil(name, value, half=half)
            path = spoiled.write()
            if executor == "reference":
                with pytest.raises(ModelError, match=re.escape(name)):
                    intact.load(path, executor="reference").logits([5, 6])
            else:
                refused(path, name, "row 0", "NaN or infinite", profile=executor)


def test_values_beyond_what_fixed_point_holds(parts):
    parts.spoil("blk.0.attn_v.bias", 1e6)
    refused(parts.write(), "blk.0.attn_v.bias", "16,384")
    parts = Parts(parts.path)
    parts.spoil("output_norm.weight", 1e30)
    refused(parts.write(), "output_norm.weight", "beyond what fixed point holds")
    parts = Parts(parts.path)
    shape = parts.tensors["token_embd.weight"][1]
    parts.tensors["token_embd.weight"] = ("F32", shape, np.full(shape, 1e30, "<f4").tobytes())
    refused(parts.write(), "token_embd.weight", "too large")


@pytest.mark.parametrize("name", ["rwkv7", "", "LLAMA", "gpt2", 5, ["llama"]])
def test_an_unknown_architecture(parts, name):
    refused(parts.write(general__architecture=name), "general.architecture", "intact info --architectures")
    refused(parts.write(general__architecture=None), "general.architecture")
    refused(parts.write(general__architecture="quen2"), "did you mean qwen2?")


REQUIRED = (
    "block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count",
    "attention.layer_norm_rms_epsilon",
)  # fmt: skip


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_hyper_parameter(parts, key):
    refused(parts.write(**{f"qwen2.{key}": None}), f"qwen2.{key}", "None")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_count", 0), ("block_count", -1), ("block_count", 2.0), ("block_count", 10**6), ("block_count", "2"),
        ("block_count", True), ("block_count", np.array([2, 2], np.int32)), ("embedding_length", -96),
        ("embedding_length", 1 << 60), ("feed_forward_length", 0), ("feed_forward_length", [160, 160]),
        ("context_length", 0), ("context_length", 1 << 40), ("context_length", "long"), ("attention.head_count", 0),
        ("attention.head_count", [3, 3]), ("attention.head_count_kv", 0), ("attention.head_count_kv", -1),
        ("attention.key_length", 0), ("attention.value_length", 16), ("attention.layer_norm_rms_epsilon", 0.0),
        ("attention.layer_norm_rms_epsilon", -1e-5), ("attention.layer_norm_rms_epsilon", float("nan")),
        ("attention.layer_norm_rms_epsilon", float("inf")), ("attention.layer_norm_rms_epsilon", 2.0),
        ("attention.layer_norm_rms_epsilon", "small"), ("rope.freq_base", 0.0), ("rope.freq_base", -1.0),
        ("rope.freq_base", float("nan")), ("rope.freq_base", 0.5), ("rope.freq_base", 1e30), ("rope.freq_base", "x"),
        ("rope.dimension_count", 0), ("rope.scaling.factor", 0.0), ("rope.scaling.factor", "x"),
    ],
)  # fmt: skip
def test_an_impossible_hyper_parameter(parts, key, value):
    words = "different widths" if key == "attention.value_length" else f"qwen2.{key}"
    refused(parts.write(**{f"qwen2.{key}": value}), words)


def test_hyper_parameters_that_do_not_fit_each_other(parts):
    refused(parts.write(qwen2__attention__head_count_kv=2), "3 heads are not a multiple of 2 KV heads")
    refused(parts.write(qwen2__attention__head_count_kv=6), "3 heads are not a multiple of 6 KV heads")
    refused(parts.write(qwen2__rope__dimension_count=26), "26 rotary dimensions do not fit heads of 24")
    refused(parts.write(qwen2__rope__dimension_count=23), "23 rotary dimensions")
    odd = {"qwen2.attention.key_length": 23, "qwen2.attention.value_length": 23}
    refused(parts.write(**odd), "the head width must be even")
    wide = {"qwen2.attention.key_length": 514, "qwen2.attention.value_length": 514}
    refused(parts.write(**wide), "at most 512")
    refused(parts.write(qwen2__embedding_length=97), "token_embd.weight", "97")


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_length": 16416},
        {"feed_forward_length": 32800},
        {"attention.head_count": 100, "attention.key_length": 330, "attention.value_length": 330},
    ],
)
def test_more_inputs_than_the_sums_are_proven_for(parts, changes):
    refused(
        parts.write(**{f"qwen2.{key}": value for key, value in changes.items()}), "proven bound of the integer sums"
    )


def test_a_context_longer_than_attention_is_proven_for_is_cut(parts):
    assert intact.load(parts.write(qwen2__context_length=10**7)).context == 1 << 19


def test_fewer_layers_than_the_file_has(parts):
    refused(parts.write(qwen2__block_count=1), "blk.1.", "of 1 layers")
    refused(parts.write(qwen2__block_count=3), "blk.2.attn_norm.weight", "missing")


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.ffn_gate_inp.weight", "blk.1.ffn_up_exps.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_norm.bias",
        "blk.0.attn_sinks.weight", "blk.0.ffn_up.scale", "output.bias", "blk.0.ssm_in.weight", "position_embd.weight",
        "blk.0.post_ffw_norm.weight", "cls.weight", "token_types.weight",
    ],
)  # fmt: skip
def test_a_tensor_that_the_program_would_leave_out(parts, name):
    parts.tensors[name] = ("F32", (96,), bytes(96 * 4))
    refused(parts.write(), name, "not part of")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("expert_count", 8), ("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0),
        ("attention.causal", False), ("attention.clamp_kqv", 8.0), ("attention.scale", 0.5), ("logit_scale", 0.25),
        ("embedding_scale", 12.0), ("residual_scale", 0.2), ("attention.sliding_window", 64),
        ("rope.scaling.type", "dynamic"), ("rope.scaling.type", 3), ("use_parallel_residual", True),
    ],
)  # fmt: skip
def test_a_feature_that_would_be_left_out(parts, key, value):
    refused(parts.write(**{f"qwen2.{key}": value}), f"qwen2.{key}", str(value))


@pytest.mark.parametrize(("key", "value"), [("rope.scaling.attn_factor", 1.2), ("rope.scaling.type", "longrope")])
def test_longrope_without_its_factors(parts, key, value):
    refused(parts.write(**{f"qwen2.{key}": value}), "rope_factors_short.weight is missing")


@pytest.mark.parametrize("changes", [{"factor": 1e5}, {"yarn_beta_slow": 99.0}, {"yarn_ext_factor": 0.5}])
def test_yarn_that_makes_no_sense(parts, changes):
    changes = {"type": "yarn", "factor": 4.0} | changes
    refused(parts.write(**{f"qwen2.rope.scaling.{key}": value for key, value in changes.items()}), "scaling")


def test_features_at_rest_are_harmless(parts):
    rest = {"expert_count": 0, "attn_logit_softcapping": 0.0, "attention.causal": True, "logit_scale": 1.0}
    rest |= {"rope.scaling.type": "none", "attention.sliding_window": 512, "rope.scaling.attn_factor": 1.0}
    plain = intact.load(parts.path).logits([5, 6, 7], raw=True)[0]
    changed = intact.load(parts.write(**{f"qwen2.{key}": value for key, value in rest.items()}))
    assert np.array_equal(changed.logits([5, 6, 7], raw=True)[0], plain)


def test_a_factor_without_a_type_stretches(parts):
    stretched = []
    for changes in (
        {},
        {"rope.scaling.factor": 4.0},
        {"rope.scale_linear": 4.0},
        {"rope.scaling.factor": 4.0, "rope.scaling.type": "linear"},
        {"rope.scaling.factor": 4.0, "rope.scaling.type": "none"},
    ):
        path = parts.write(**{f"qwen2.{key}": value for key, value in changes.items()})
        stretched.append(intact.load(path).logits([5, 6, 7], raw=True)[0])
    assert np.array_equal(stretched[1], stretched[2])
    assert np.array_equal(stretched[1], stretched[3])
    assert np.array_equal(stretched[0], stretched[4])
    assert not np.array_equal(stretched[0], stretched[1])


@pytest.mark.parametrize("values", [[1.0] * 11, [1.0] * 11 + [0.0], [1.0] * 11 + [-1.0]])
def test_rotary_divisors_that_make_no_sense(parts, values):
    parts.tensors["rope_freqs.weight"] = ("F32", (len(values),), np.array(values, "<f4").tobytes())
    refused(parts.write(), "rope_freqs.weight")


def test_rotary_divisors_are_used_or_refused(parts, gemma):
    divisors = ("F32", (12,), np.full(12, 2.0, "<f4").tobytes())
    parts.tensors["rope_freqs.weight"] = gemma.tensors["rope_freqs.weight"] = divisors
    plain, changed = (intact.load(path).logits([5, 6, 7], raw=True)[0] for path in (parts.path, parts.write()))
    assert not np.array_equal(plain, changed)
    refused(gemma.write(), "rope_freqs.weight", "not part of")


@pytest.mark.parametrize("value", [0, -1, "x", [True], [True, False, True], [2, 3], 1.5])
def test_a_pattern_of_layers_that_makes_no_sense(gemma, value):
    refused(gemma.write(gemma3__attention__sliding_window_pattern=value), "gemma3.attention.sliding_window_pattern")


def test_a_pattern_of_layers_may_be_a_list(gemma):
    tokens = list(range(5, 60))
    plain, listed, other = (
        intact.load(gemma.write(gemma3__attention__sliding_window_pattern=value)).logits(tokens, raw=True)[0]
        for value in (2, [True, False], [False, True])
    )
    assert np.array_equal(plain, listed)
    assert not np.array_equal(plain, other)


def test_a_truncated_file(parts):
    data = parts.path.read_bytes()
    for part in (0, 3, 4, 20, 100, len(data) // 2, len(data) - 40):
        spoiled = parts.path.with_name("cut.gguf")
        spoiled.write_bytes(data[:part])
        refused(spoiled, error=FormatError)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"question": 5}, "question must be a string or a Problem, got 5"),
        ({"method": None}, "method must be a name or a Method, got None"),
        ({"method": len}, r"got <built-in function len>: decorate the function with @method\(PAPER\)"),
        ({"question": Problem("a", 5)}, "prompt of a Problem must be a string, or messages such as .*, got 5"),
        ({"question": Problem("a", [])}, r"prompt of a Problem must be a string, or messages such as .*, got \[\]"),
        ({"question": Problem("a", (("user", 5),))}, "prompt of a Problem must be a string, or messages"),
        ({"question": Problem("a", [{"role": "user"}])}, "prompt of a Problem must be a string, or messages"),
        ({"question": Problem("a", "Why?", "number")}, "read of a Problem must be a function of a text, got 'number'"),
        ({"budget": 5}, 'budget must be a string such as "tokens=20k" or a Budget, got 5'),
        ({"max_tokens": -5}, "max_tokens must be an integer from 1 to .*, got -5"),
        ({"model": None}, "name_or_path must be the name or path of a model, got None"),
        ({"question": " "}, "the question is empty: give a string, or a Problem"),
        (
            {"question": Problem("a", "Why?", seed=2), "seed": 3},
            "seed is 3, but the Problem has its own seed, 2: give only one",
        ),
        ({"seed": "x"}, "seed must be an integer from .*, got 'x'"),
        ({"receipt": 1}, "receipt must be True or False, got 1"),
        ({"journal": 5}, "journal must be a folder, got 5"),
        ({"tools": 5}, "tools must be a mapping of names to tools, got 5"),
        ({"tools": {"a": 5}}, r"tools\['a'\] must be a MethodTool, got 5"),
        ({"temprature": 1}, "self_consistency has no parameter 'temprature': did you mean temperature"),
        ({"json_schema": {}}, "self_consistency has no parameter 'json_schema'; it has n, max_tokens, temperature"),
    ],
)
def test_an_argument_that_is_none_is_named_before_any_work(asked, message):
    def call(model="no.gguf", method="self_consistency", question="Why?", **options):
        intact.solve(intact.load(model) if model is None else model, method, question, n=1, **options)

    with pytest.raises(ParameterError, match=message):
        call(**asked)


def test_messages_of_a_problem_may_be_mappings(tmp_path):
    messages = [{"role": "user", "content": "Why?"}]
    with intact.load(write_tiny(tmp_path / "tiny.gguf")) as model:
        found, same = (
            intact.solve(model, "self_consistency", Problem("p", prompt), n=2, max_tokens=4)
            for prompt in (messages, (("user", "Why?"),))
        )
    assert found.as_dict() | {"cost": None} == same.as_dict() | {"cost": None}


@pytest.mark.parametrize("model", [5, [], {"main": None}])
def test_what_is_no_model_cannot_solve(model):
    with pytest.raises(ParameterError, match="model must be a model, a name, a path, an address or a Backend, got "):
        intact.solve(model, "self_consistency", "Why?", n=1)


def test_no_file(tmp_path):
    with pytest.raises(IntactError, match="no such file"):
        intact.load(tmp_path / "absent.gguf")
    with pytest.raises(IntactError, match="contains no model"):
        intact.load(tmp_path)
    with pytest.raises(IntactError, match="is not a model of the catalogue"):
        intact.load("smolm2")


# Folders of safetensors


def spoiled_folder(tmp_path, name="llama", changes=None, **config):
    folder = write_folder(tmp_path, VARIANTS[name], name, changes)
    whole = {key: value for key, value in (dict(VARIANTS[name].config) | config).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(whole))
    return folder


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("llama", {"num_hidden_layers": ...}), ("llama", {"hidden_size": None}),
        ("llama", {"num_attention_heads": 3.5}),
        ("llama", {"num_attention_heads": 0}), ("llama", {"intermediate_size": "112"}), ("llama", {"vocab_size": 300}),
        ("llama", {"vocab_size": -1}), ("llama", {"head_dim": -16}), ("llama", {"rms_norm_eps": "x"}),
        ("llama", {"rope_theta": [1]}), ("llama", {"rope_theta": 0}), ("llama", {"rope_scaling": "linear"}),
        ("llama", {"rope_scaling": {"type": "yarn", "factor": 1e5}}), ("llama", {"max_position_embeddings": 0}),
        ("llama", {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0]}}),
        ("llama", {"rope_scaling": {"rope_type": "ntk", "factor": 2.0}}),
        ("llama", {"rope_scaling": {"factor": 2.0}}),
        ("llama", {"rope_scaling": {"type": "linear", "factor": -1}}), ("llama", {"rope_scaling": {"type": "linear"}}),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0}}),
        ("llama", {"rope_parameters": 5}), ("llama", {"rope_parameters": {"rope_theta": "x"}}),
        ("llama", {"rope_parameters": {"full_attention": 7}}), ("llama", {"text_config": [1]}),
        ("llama", {"hidden_act": "gelu"}), ("llama", {"attention_bias": "yes"}),
        ("llama", {"tie_word_embeddings": "yes"}),
        ("llama", {"partial_rotary_factor": 0.5}),
        ("llama", {"num_local_experts": 8}), ("llama", {"attn_logit_softcapping": 50.0}),
        ("qwen2", {"use_sliding_window": True}), ("qwen2", {"layer_types": ["sliding_attention"] * 2}),
        ("qwen3", {"num_experts": 4}), ("gemma3", {"layer_types": ["full_attention"]}),
        ("gemma3", {"layer_types": "all"}),
        ("gemma3", {"layer_types": ["chunked_attention"] * 3}), ("gemma3", {"sliding_window": None}),
        ("gemma3", {"sliding_window": 0}), ("gemma3", {"query_pre_attn_scalar": 0}),
        ("gemma3", {"hidden_activation": "silu"}),
        ("gemma3", {"final_logit_softcapping": 30.0}), ("gemma3", {"use_bidirectional_attention": True}),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 0}), ("gemma3", {"rope_local_base_freq": "x"}),
        ("gemma3", {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}}),
    ],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense_or_asks_for_more(tmp_path, name, config):
    path = spoiled_folder(tmp_path, name, **config)
    word = next(reversed(config))
    with pytest.raises(ModelError, match="rope" if "rope" in word else word) as caught:
        intact.load(path)
    assert str(tmp_path) in str(caught.value) or "rope scaling" in str(caught.value)


@pytest.mark.parametrize("value", ["x", ["GPT2LMHeadModel"], None, [5], ...])
def test_an_unknown_architecture_of_a_folder(tmp_path, value):
    refused(spoiled_folder(tmp_path, architectures=value), "architectures", "intact info --architectures")


def test_tensors_of_a_folder_are_named_as_the_folder_names_them(tmp_path):
    name = "model.layers.1.mlp.down_proj.weight"
    refused(spoiled_folder(tmp_path / "a", changes={name: None}), name, "missing")
    refused(spoiled_folder(tmp_path / "b", changes={name: np.zeros((64, 113), np.float32)}), name, "(64, 113)")
    refused(spoiled_folder(tmp_path / "c", changes={name: np.full((64, 112), np.nan, np.float32)}), name, "NaN")
    extra = {"model.layers.0.block_sparse_moe.gate.weight": np.zeros((2, 64), np.float32)}
    refused(spoiled_folder(tmp_path / "d", changes=extra), *extra)
    norm = "model.layers.0.input_layernorm.weight"
    refused(spoiled_folder(tmp_path / "e", changes={norm: np.full(64, np.inf, np.float32)}), norm, "NaN or infinite")


def test_frequencies_that_old_files_store_again_are_harmless(tmp_path):
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)}
    plain, changed = (
        intact.load(spoiled_folder(tmp_path / str(i), changes=changes)).logits([5, 6, 7], raw=True)[0]
        for i, changes in enumerate(({}, extra))
    )
    assert np.array_equal(plain, changed)


def test_a_folder_without_its_files(tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        folder = spoiled_folder(tmp_path / name)
        (folder / name).unlink()
        with pytest.raises(IntactError, match=re.escape(str(folder))):
            intact.load(folder)


def test_a_folder_without_a_shard(tmp_path):
    folder = spoiled_folder(tmp_path, "llama-biases")
    Path(folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FormatError, match="model-00002-of-00003"):
        intact.load(folder)
