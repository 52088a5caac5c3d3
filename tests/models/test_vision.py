"""Classifiers of images equal Transformers, have the same bits in any batch, and refuse images that do not fit."""

import hashlib
import json
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError, ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import available_tiers
from intact.models import ARCHITECTURES
from intact.models.images import ImageForm, cut_patches
from intact.models.vit import build_vision_model
from support.vision import VISION, images, vision_values, write_vision

GOLDENS = json.loads((Path(__file__).parent / "goldens.json").read_text())["vision"]
PROFILES = {"int8": {}, "4 bits": {"bits": 4}, "fp32": {"profile": "fp32"}}
TIERS = tuple(available_tiers())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("vision")
    return cache(lambda name: write_vision(root / name, name))


def digest(logits):
    return hashlib.sha256(logits.astype("<f8").tobytes()).hexdigest()[:16]


def test_there_are_goldens_of_each_model():
    assert list(GOLDENS) == list(VISION)


@pytest.mark.parametrize("name", VISION)
@pytest.mark.native
def test_the_fp32_profile_equals_transformers(folder, name):
    theirs = GOLDENS[name]["transformers"]
    found = intact.load_classifier(folder(name), "fp32").logits(images(name))
    assert np.abs(found - np.array(theirs["logits"])).max() <= 1e-6 * theirs["range"]
    assert theirs["ours"] <= 1e-6


@pytest.mark.parametrize("name", VISION)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.native
def test_the_bits_are_those_of_numerics_version_1(folder, name, profile):
    found = intact.load_classifier(folder(name), **PROFILES[profile]).logits(images(name))
    assert digest(found) == GOLDENS[name]["digests"][profile]


@pytest.mark.parametrize("name", VISION)
@pytest.mark.native
def test_integers_stay_near_floats(folder, name):
    theirs = GOLDENS[name]["transformers"]
    found = intact.load_classifier(folder(name)).logits(images(name))
    assert np.abs(found - np.array(theirs["logits"])).max() < 0.02 * theirs["range"]  # measured 0.012


@pytest.mark.parametrize("name", VISION)
@pytest.mark.native
def test_the_reference_equals_native(folder, name):
    reference, native = (intact.load_classifier(folder(name), executor=kind) for kind in ("reference", "native"))
    assert np.array_equal(reference.logits(images(name)), native.logits(images(name)))
    assert reference.classify(images(name)) == native.classify(images(name))


@pytest.mark.parametrize("profile", ["int8", "fp32", "int8_row", "mxfp8", "int8+kv-int4"])
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.native
def test_no_batch_order_thread_or_tier_changes_a_bit(folder, monkeypatch, tier, profile):
    name = "vit"
    monkeypatch.setenv("INTACT_ISA", TIERS[-1])
    alone = intact.load_classifier(folder(name), profile, threads=1, rows=1)
    expected = np.concatenate([alone.logits(image[None]) for image in images(name)])
    monkeypatch.setenv("INTACT_ISA", tier)
    order = np.random.default_rng(5).permutation(len(expected))
    for threads, rows in ((3, 512), (1, 40), (1, 1)):
        model = intact.load_classifier(folder(name), profile, threads=threads, rows=rows)
        description = model.description
        assert (description["tier"], description["threads"]) == (tier, threads)
        assert model.images_a_step == max(1, rows // 17)
        assert np.array_equal(model.logits(images(name)[order]), expected[order])


@pytest.mark.native
def test_threads_share_a_classifier(folder):
    model = intact.load_classifier(folder("vit"), threads=1)
    pixels = images("vit")
    expected, found = model.logits(pixels), {}

    def run(i):
        found[i] = model.logits(pixels[i:])

    workers = [threading.Thread(target=run, args=(i,)) for i in range(len(pixels))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i in range(len(pixels)):
        assert np.array_equal(found[i], expected[i:])


@pytest.mark.native
def test_a_class_has_its_label_and_log_probability(folder):
    for profile in ("int8", "fp32"):
        model = intact.load_classifier(folder("vit"), profile)
        logits = model.logits(images("vit"))
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        for row, found in zip(logprobs, model.classify(images("vit")), strict=True):
            assert (found.index, found.label) == (row.argmax(), f"class {row.argmax()}")
            assert found.logprob == pytest.approx(row.max(), abs=2e-4)
        assert model.labels == tuple(f"class {i}" for i in range(7))
        assert model.classify(images("vit")[:0]) == []
        assert model.logits(images("vit")[:0]).shape == (0, 7)


@pytest.mark.native
def test_the_models_own_numbers_are_taken_as_floats(folder):
    """Values of pixels become the numbers that preprocessor_config.json says, in exact fractions rounded once."""
    model = intact.load_classifier(folder("vit"))
    pixels, settings = images("vit"), VISION["vit"].pixels
    mean, deviation = (np.array(settings[key])[:, None, None] for key in ("image_mean", "image_std"))
    floats = (pixels * settings["rescale_factor"] - mean) / deviation
    assert np.array_equal(model.logits(floats), model.logits(pixels))
    assert np.abs(model.logits(floats.astype(np.float32)) - model.logits(pixels)).max() < 0.1


def test_patches_are_cut_in_the_order_of_a_convolution():
    form = ImageForm(2, 4, 6, 2, 3)
    image = np.arange(48.0).reshape(1, 2, 4, 6)
    weight = np.random.default_rng(1).normal(size=(5, 2, 2, 3))
    found = cut_patches(image, form) @ weight.reshape(5, -1).T
    for n, (row, column) in enumerate((row, column) for row in (0, 2) for column in (0, 3)):
        part = image[0, :, row : row + 2, column : column + 3]
        assert np.allclose(found[0, n], (weight * part).sum(axis=(1, 2, 3)))


# Whatever a golden is to notice must change the answer.
@pytest.mark.parametrize(
    ("key", "value"),
    [("layer_norm_eps", 1e-2), ("num_attention_heads", 2)],
)
@pytest.mark.native
def test_every_hyper_parameter_matters(tmp_path, key, value):
    found = intact.load_classifier(write_vision(tmp_path, "vit", **{key: value})).logits(images("vit"))
    assert digest(found) != GOLDENS["vit"]["digests"]["int8"]


@pytest.mark.parametrize("part", ["cls_token", "position_embeddings", "projection.bias", "classifier.bias"])
@pytest.mark.native
def test_every_vector_matters(tmp_path, part):
    (name,) = (name for name in vision_values(VISION["vit"].config, "vit") if name.endswith(part))
    changed = vision_values(VISION["vit"].config, "vit")[name] * np.float32(0.5)
    found = intact.load_classifier(write_vision(tmp_path, "vit", {name: changed})).logits(images("vit"))
    assert digest(found) != GOLDENS["vit"]["digests"]["int8"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 16, 16), np.uint8), r"must have the shape \(count, 3, 16, 16\).*; got \(3, 16, 16\)"),
        (np.zeros((1, 3, 16, 15), np.uint8), r"got \(1, 3, 16, 15\)"),
        (np.zeros((1, 1, 16, 16), np.uint8), r"got \(1, 1, 16, 16\)"),
        (np.zeros((1, 16, 16, 3), np.uint8), r"got \(1, 16, 16, 3\)"),
        (np.zeros((0,), np.uint8), r"got \(0,\)"),
        (0.5, r"got \(\)"),
        ([np.zeros((3, 16, 16)), np.zeros((3, 8, 16))], "got images of different sizes"),
        (np.zeros((1, 3, 16, 16), np.int64), r"must be uint8 \(pixel values\) or floats.*; got int64"),
        (np.zeros((1, 3, 16, 16), bool), "got bool"),
        (np.zeros((1, 3, 16, 16), complex), "got complex128"),
        (np.full((1, 3, 16, 16), np.nan), "finite numbers from -1024 to 1024"),
        (np.full((1, 3, 16, 16), np.inf), "finite numbers from -1024 to 1024"),
        (np.full((1, 3, 16, 16), 1025.0), "finite numbers from -1024 to 1024"),
    ],
)
@pytest.mark.native
def test_images_that_do_not_fit_are_refused(folder, given, message):
    model = intact.load_classifier(folder("vit"))
    for call in (model.logits, model.classify):
        with pytest.raises(ParameterError, match=message):
            call(given)


@pytest.mark.native
def test_the_largest_numbers_are_taken(folder):
    for kind in ("native", "reference"):
        model = intact.load_classifier(folder("vit"), executor=kind)
        assert np.isfinite(model.logits(np.full((1, 3, 16, 16), -1024.0))).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_size": 15}, "image_size has a height of 15, which is not divisible by the patch size 4"),
        ({"image_size": [16, 18]}, "image_size has a width of 18, which is not divisible by the patch size 4"),
        ({"image_size": [16]}, "image_size must be an integer from 1 to 16384, or a height and a width"),
        ({"image_size": 0}, "image_size must be an integer from 1"),
        ({"image_size": 74, "patch_size": 74}, "patch_size gives 16428 numbers in a patch, .* 16384"),
        ({"image_size": 725, "patch_size": 1}, "image_size gives 525626 patches and a class token, .* 524288"),
        ({"image_size": 20}, r"position_embeddings has shape \(1, 17, 64\), expected \(1, 26, 64\)"),
        ({"patch_size": 8}, r"position_embeddings has shape \(1, 17, 64\), expected \(1, 5, 64\)"),
        ({"num_channels": 1}, r"projection\.weight has shape \(64, 3, 4, 4\), expected \(64, 1, 4, 4\)"),
        ({"hidden_act": "gelu_new"}, "hidden_act must be gelu"),
        ({"num_attention_heads": 5}, "num_attention_heads must be a divisor of hidden_size, 64"),
        ({"num_hidden_layers": 1}, "not part of"),
        ({"num_hidden_layers": 3}, r"vit\.encoder\.layer\.2\.layernorm_before\.weight is missing"),
        ({"backbone_config": {"depths": [1]}}, "backbone_config is"),
        ({"id2label": {"0": "a"}}, "id2label must be a name for each of the 7 rows"),
        ({"architectures": ["ViTHybridForImageClassification"]}, "which has a convolutional network"),
        ({"architectures": ["DeiTForImageClassificationWithTeacher"]}, "which has a token for distillation"),
        ({"architectures": ["ViTModel"]}, "must name ViTForImageClassification in architectures; found ViTModel"),
        ({"architectures": None}, "found none"),
    ],
)
def test_folders_that_do_not_fit_are_refused(tmp_path, keys, message):
    with pytest.raises(ModelError, match=message):
        build_vision_model(open_checkpoint(write_vision(tmp_path, "vit", **keys)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier.bias": None}, r"classifier\.bias is missing"),
        ({"vit.embeddings.cls_token": None}, r"vit\.embeddings\.cls_token is missing"),
        ({"vit.embeddings.distillation_token": np.zeros((1, 1, 64), np.float32)}, "distillation_token"),
        ({"vit.embeddings.cls_token": np.full((1, 1, 64), np.nan, np.float32)}, "NaN"),
        ({"classifier.bias": np.zeros(6, np.float32)}, r"classifier\.bias has shape \(6,\), expected \(7,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        build_vision_model(open_checkpoint(write_vision(tmp_path, "vit", changes)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 8, "width": 16}}, "size must be as in config.json, a height of 16 and a width of 16"),
        ({"image_mean": [0.5]}, "image_mean must be one number for each of the 3 channels"),
        ({"image_std": [0.5, 0.5, 0.0]}, "image_std must be positive"),
        ({"image_std": ["a", 1, 1]}, "image_std must be one number for each"),
        ({"rescale_factor": -1}, "rescale_factor must be a positive number"),
        ({"rescale_factor": 1e9}, r"give numbers up to .*e\+\d+; expected at most 1024"),
        ({"do_rescale": 3}, "do_rescale must be true or false"),
    ],
)
def test_settings_of_pixels_that_do_not_fit_are_refused(tmp_path, settings, message):
    folder = write_vision(tmp_path, "vit")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(dict(VISION["vit"].pixels) | settings))
    with pytest.raises(ModelError, match=message):
        build_vision_model(open_checkpoint(folder))
    path.unlink()
    with pytest.raises(FormatError, match=r"preprocessor_config\.json"):
        build_vision_model(open_checkpoint(folder))


def test_pixels_may_be_left_as_they_are(tmp_path):
    folder = write_vision(tmp_path, "vit")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"do_rescale": False, "do_normalize": False, "size": 16}))
    assert np.array_equal(build_vision_model(open_checkpoint(folder)).levels, np.tile(np.arange(256.0), (3, 1)))
    path.write_text("{}")
    levels = build_vision_model(open_checkpoint(folder)).levels
    assert np.allclose(levels, (np.arange(256) / 255 - 0.5) / 0.5)


@pytest.mark.native
def test_models_of_texts_and_of_images_are_told_apart(folder, tmp_path):
    assert "vit" not in ARCHITECTURES
    with pytest.raises(
        ModelError, match=r"classifies images and does not read text: load it with intact\.load_classifier"
    ):
        intact.load(folder("vit"))
    with pytest.raises(ParameterError, match="rows must be"):
        intact.load_classifier(folder("vit"), rows=0)
    with pytest.raises(ParameterError, match="bits must be 8 or 4"):
        intact.load_classifier(folder("vit"), bits=5)
    with pytest.raises(ParameterError, match="no executor named 'reference' for the profile fp32"):
        intact.load_classifier(folder("vit"), "fp32", executor="reference")


@pytest.mark.native
def test_a_closed_classifier_says_so(folder):
    with intact.load_classifier(folder("vit")) as model:
        assert len(model.classify(images("vit"))) == 9
    with pytest.raises(ModelError, match="the classifier is closed"):
        model.logits(images("vit"))
