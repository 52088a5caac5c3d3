"""Image classifiers in integers, from pixel rows to logits; an image's result has the same bits in any batch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.catalogue import resolve
from intact.checkpoints.formats import Checkpoint, open_checkpoint
from intact.engine.sampling.definitions import integer, whole
from intact.executors.base import Executor, fixed_logits
from intact.executors.names import ExecutorName
from intact.executors.settings import ExecutorSettings, check_executor
from intact.models.aspects.parameters import bias_values, integer_bias
from intact.models.aspects.step import LOGIT_FRACTION, SequenceChunk
from intact.models.images import LARGEST, cut_patches
from intact.models.ops import AllGather
from intact.models.vit import BIAS, CLASS_TOKEN, PATCH_TOKEN, VisionModel, build_vision_model
from intact.numerics.fixed import sat32
from intact.numerics.profiles import Profile
from intact.numerics.sampling import LOGPROB_SCALE

_PAGE: Final = 32
_FRACTION: Final = 20  # of wide rows


@dataclass(frozen=True)
class Classified:
    """The class of an image.

    Attributes
    ----------
    index : int
        Number of the class with the largest logit; on ties the smallest number.
    label : str
        Name of the class.
    logprob : float
        Log-probability of the class in nats; an integer divided by 2^24.
    """

    index: int
    label: str
    logprob: float


class _PixelRows:
    """The exchange of a classifier's program: supplies the pixel rows of the next step, float64 (rows, pixels)."""

    def __init__(self) -> None:
        self.rows: NDArray[np.float64] = np.zeros((0, 0))

    def __call__(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Write a step's pixel rows to the target: as floats, or as integers in Q20, rounded half up."""
        whole[:] = self.rows if whole.dtype.kind == "f" else np.floor(np.ldexp(self.rows, _FRACTION) + 0.5)


class ImageClassifier:
    """An image classifier, loaded by `load_classifier`. A context manager that closes the classifier on exit.

    An image's logits are bit-identical in any batch, with any number of threads, on any machine.

    Attributes
    ----------
    form : ImageForm
        Sizes of the model's images.
    labels : tuple of str
        Names of the classes.
    images_a_step : int
    """

    def __init__(
        self, path: Path, model: VisionModel, executor: Executor, pixels: _PixelRows, rows_a_step: int
    ) -> None:
        self.path, self.form, self.labels = path, model.form, model.labels
        self._executor: Executor | None = executor
        self._model, self._pixels = model, pixels
        self._lock = Lock()
        rows = model.form.patches + 1
        self.images_a_step = max(1, rows_a_step // rows)
        pages = -(-rows // executor.page_size)
        executor.reserve_pages(self.images_a_step * pages)
        self._pages = np.arange(self.images_a_step * pages, dtype=np.int32).reshape(-1, pages)
        self._tokens = np.array([CLASS_TOKEN] + [PATCH_TOKEN] * (rows - 1), np.int32)

    @property
    def description(self) -> dict[str, object]:
        """Executor, tier and threads in use."""
        return self._open().description

    def classify(self, images: ArrayLike) -> list[Classified]:
        """Return the class of each image; parameters and errors are the same as in `logits`."""
        given = self._checked(images)
        with self._lock:
            logits, executor = self._run(given)
            best = logits.argmax(axis=1)
            fixed = logits if logits.dtype == np.int32 else fixed_logits(logits)
            logprobs = executor.log_probabilities(fixed, best)
        found = zip(best.tolist(), logprobs.tolist(), strict=True)
        return [Classified(index, self.labels[index], logprob / LOGPROB_SCALE) for index, logprob in found]

    def logits(self, images: ArrayLike) -> NDArray[np.float64]:
        """Return the logits of images.

        Parameters
        ----------
        images : uint8 or floats (count, channels, height, width)
            Images of the model's size. Pixel values from 0 to 255, which are normalised as preprocessor_config.json
            specifies; or floats that are already normalised, `pixel_values` in Transformers.

        Returns
        -------
        float64 (count, classes)
            Exact values: integers divided by 2^16 in integer profiles; float32 values in fp32.

        Raises
        ------
        ParameterError
            If images have the wrong size or type, or a number is not finite or exceeds `LARGEST`.
        ModelError
            If the classifier is closed, or the weights are too large for the fp32 profile.
        """
        given = self._checked(images)
        with self._lock:
            logits, _ = self._run(given)
        return logits.astype(np.float64) / (1 << LOGIT_FRACTION if logits.dtype == np.int32 else 1)

    def _checked(self, images: ArrayLike) -> NDArray[Any]:
        """Return images as an array that the model accepts, or raise."""
        form = self.form
        size = f"(count, {form.channels}, {form.height}, {form.width}), with the model's channels, height and width"
        try:
            given = np.asarray(images)
        except ValueError:
            raise ParameterError(f"images must have the shape {size}; got images of different sizes") from None
        if given.shape[1:] != (form.channels, form.height, form.width):
            raise ParameterError(f"images must have the shape {size}; got {given.shape}")
        if given.dtype != np.uint8 and given.dtype.kind != "f":
            what = "uint8 (pixel values) or floats (the numbers that the model takes)"
            raise ParameterError(f"images must be {what}; got {given.dtype}")
        if given.dtype.kind == "f" and not (np.abs(given) <= LARGEST).all():  # false for NaN
            raise ParameterError(f"images of floats must contain finite numbers from -{LARGEST} to {LARGEST}")
        return given

    def _rows(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Return the pixel rows of images, with zeros for class tokens: float64 (count * (1 + patches), pixels)."""
        if images.dtype == np.uint8:
            images = self._model.levels[np.arange(self.form.channels)[:, None, None], images]
        patches = cut_patches(images.astype(np.float64), self.form)
        return np.pad(patches, ((0, 0), (1, 0), (0, 0))).reshape(-1, self.form.pixels)

    def _run(self, images: NDArray[Any]) -> tuple[NDArray[Any], Executor]:
        """Return the logits, in Q16 or as float32, and the executor; the caller must hold the lock."""
        executor, program = self._open(), self._model.program
        floats = executor.profile == "fp32"
        step = executor.step_float if floats else executor.step
        found: list[NDArray[Any]] = [np.zeros((0, len(self.labels)), np.float32 if floats else np.int32)]
        for start in range(0, len(images), self.images_a_step):
            some = images[start : start + self.images_a_step]
            self._pixels.rows = self._rows(some)
            chunks = [SequenceChunk(0, self._tokens, self._pages[i]) for i in range(len(some))]
            wanted = np.arange(len(some), dtype=np.int64) * len(self._tokens)
            found.append(step(chunks, wanted).copy())
        logits = np.concatenate(found)
        if floats:
            return logits + bias_values(program, BIAS), executor
        return sat32(logits + integer_bias(program, BIAS, LOGIT_FRACTION)).astype(np.int32), executor

    def _open(self) -> Executor:
        """Return the executor, or raise."""
        if self._executor is None:
            raise ModelError(f"{self.path}: the classifier is closed")
        return self._executor

    def close(self) -> None:
        """Free the weights; the classifier cannot be used afterwards."""
        with self._lock:
            if self._executor is not None:
                self._executor.close()
            self._executor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_classifier(
    name_or_path: str | os.PathLike[str] | Checkpoint,
    profile: Profile = "int8",
    threads: int | None = None,
    *,
    bits: Literal[8, 4] = 8,
    executor: ExecutorName = "native",
    rows: int = 1024,
) -> ImageClassifier:
    """Load an image classifier: a vision transformer (ViT).

    Parameters
    ----------
    name_or_path : str, path or Checkpoint
        A safetensors folder with config.json and preprocessor_config.json, of the class ViTForImageClassification.
        Nothing is downloaded.
    profile, threads, bits, executor
        As in `intact.load`.
    rows : int
        Rows per step; an image takes one row per patch plus one. A step runs at least one image. Does not change any
        bit of the result.

    Raises
    ------
    FormatError, ModelError, ParameterError
        If a file or an argument is invalid; the message names the file and the problem.
    """
    width = whole(bits)
    if width not in (8, 4):
        raise ParameterError(f"bits must be 8 or 4, got {bits!r}")
    check_executor(executor, profile)
    rows = integer("rows", rows, 1, 1 << 16)
    path = name_or_path
    checkpoint = path if isinstance(path, Checkpoint) else open_checkpoint(Path(resolve(path)))
    try:
        model, pixels = build_vision_model(checkpoint), _PixelRows()
        runner = ExecutorSettings(profile, width, _PAGE, executor, threads=threads).make_executor(model.program, pixels)
    except ModelError as error:
        if str(checkpoint.path) in str(error):
            raise
        raise ModelError(
            f"{checkpoint.path}: {error}"
        ) from error  # the error was raised where only the tensor was known
    return ImageClassifier(checkpoint.path, model, runner, pixels, rows_a_step=rows)
