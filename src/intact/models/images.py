"""Images as rows: the sizes that a vision model accepts, the normalisation of pixels, and the patches of an image."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import Checkpoint
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.safetensors import read_json
from intact.models.config import MOST_CONTEXT, exact

PREPROCESSOR = "preprocessor_config.json"
MOST_SIDE = 1 << 14
"""Limit on the height and width of an image."""
MOST_PIXELS = 16384
"""Limit on the number of values in a patch, as for the width of rows (docs/spec/numerics.md)."""
LARGEST = 1024
"""Limit on the magnitude of a normalised pixel value."""
_LEVELS = 256


class ImageForm(NamedTuple):
    """The images that a model accepts, and the patches into which they are split.

    Attributes
    ----------
    channels, height, width : int
        Size of an image.
    patch_height, patch_width : int
        Size of a patch in pixels; patches do not overlap and cover the image.
    """

    channels: int
    height: int
    width: int
    patch_height: int
    patch_width: int

    @property
    def patches(self) -> int:
        """Number of patches in an image."""
        return (self.height // self.patch_height) * (self.width // self.patch_width)

    @property
    def pixels(self) -> int:
        """Number of values in a patch: its pixels in all channels."""
        return self.channels * self.patch_height * self.patch_width


def read_form(m: Metadata) -> ImageForm:
    """Return the sizes in a config.json: `num_channels`, and `image_size` and `patch_size`, each one or two numbers.

    Raises
    ------
    ModelError
        If a size is missing or out of bounds, or patches do not cover the image.
    """
    height, width = _pair(m, "image_size")
    patch_height, patch_width = _pair(m, "patch_size")
    for name, side, patch in (("height", height, patch_height), ("width", width, patch_width)):
        if side % patch:
            m.fail("image_size", f"has a {name} of {side}, which is not divisible by the patch size {patch}")
    form = ImageForm(m.integer("num_channels", most=64), height, width, patch_height, patch_width=patch_width)
    for key, what, size, most in (
        ("patch_size", "numbers in a patch", form.pixels, MOST_PIXELS),
        ("image_size", "patches and a class token", form.patches + 1, MOST_CONTEXT),
    ):
        if size > most:
            m.fail(key, f"gives {size} {what}, more than the proven bound of the integer sums, {most}")
    return form


def _pair(m: Metadata, key: str) -> tuple[int, int]:
    """Read a height and a width, or one number for both."""
    value = m.get(key)
    if not isinstance(value, list):
        side = m.integer(key, most=MOST_SIDE)
        return side, side
    if len(value) != 2 or not all(type(side) is int and 1 <= side <= MOST_SIDE for side in value):
        m.refuse(key, f"an integer from 1 to {MOST_SIDE}, or a height and a width", value)
    return value[0], value[1]


def read_levels(checkpoint: Checkpoint, form: ImageForm) -> NDArray[np.float64]:
    """Return the model's input for each pixel value, float64 (channels, 256), as its files specify.

    It is ``(value * rescale_factor - image_mean) / image_std`` for each channel, an exact fraction rounded once. Other
    keys of preprocessor_config.json, for resizing images, have no effect here.

    Raises
    ------
    FormatError
        If there is no preprocessor_config.json.
    ModelError
        If it is for images of a different size, or a number is invalid.
    """
    path = checkpoint.folder / PREPROCESSOR
    m = Metadata(read_json(path, "the preprocessor configuration"), path)
    size = m.get("size", form.height)
    if isinstance(size, int) and not isinstance(size, bool):
        size = {"height": size, "width": size}
    if size != {"height": form.height, "width": form.width}:
        m.refuse("size", f"as in config.json, a height of {form.height} and a width of {form.width}", size)
    scale = exact(m.number("rescale_factor", 1 / 255)) if m.flag("do_rescale", True) else Fraction(1)
    means, deviations = [Fraction(0)] * form.channels, [Fraction(1)] * form.channels
    if m.flag("do_normalize", True):
        means, deviations = (_each_channel(m, key, form.channels) for key in ("image_mean", "image_std"))
        if min(deviations) <= 0:
            m.refuse("image_std", "positive", m.get("image_std"))
    found = [
        [float((value * scale - mean) / deviation) for value in range(_LEVELS)]
        for mean, deviation in zip(means, deviations, strict=True)
    ]
    if (largest := max(abs(number) for channel in found for number in channel)) > LARGEST:
        m.fail(
            "rescale_factor, image_mean and image_std", f"give numbers up to {largest:.6g}; expected at most {LARGEST}"
        )
    return np.array(found)


def _each_channel(m: Metadata, key: str, channels: int) -> list[Fraction]:
    """Read one number per channel, or one number for all channels."""
    value = m.get(key, 0.5)  # the default of Transformers' ViTImageProcessor
    values = value if isinstance(value, list) else [value] * channels
    fits = (type(number) in (int, float) and abs(number) < 1 << 20 for number in values)
    if len(values) != channels or not all(fits):
        m.refuse(key, f"one number for each of the {channels} channels", value)
    return [exact(number) for number in values]


def cut_patches(images: NDArray[np.float64], form: ImageForm) -> NDArray[np.float64]:
    """Return the patches of images as rows, row by row of the image, in the order of a convolution's weights.

    Parameters
    ----------
    images : float64 (count, channels, height, width)

    Returns
    -------
    float64 (count, patches, channels * patch height * patch width)
    """
    rows, columns = form.height // form.patch_height, form.width // form.patch_width
    cut = images.reshape(len(images), form.channels, rows, form.patch_height, columns, form.patch_width)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(len(images), form.patches, form.pixels)
