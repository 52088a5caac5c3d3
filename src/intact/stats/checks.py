"""Checks of arguments, and imports of the libraries that compute statistics."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact._base.errors import ParameterError
from intact._base.packages import check_installed

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def library(name: str) -> Any:
    """Import a module of SciPy, statsmodels or matplotlib.

    Raises
    ------
    NotInstalledError
        If its package is not installed.
    """
    package = name.partition(".")[0]
    if sys.modules.get(package) is None:  # fits ask thousands of times for what is there
        check_installed("this", package)
    return import_module(name)


def whole(values: ArrayLike, name: str) -> Integers:
    """Return whole numbers as integers.

    Raises
    ------
    ParameterError
        If one is missing, infinite or has a fraction.
    """
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array.astype(np.int64)
    if array.dtype == object or not np.issubdtype(array.dtype, np.number):
        raise ParameterError(f"{name} must be whole numbers, got {values!r}")
    wrong = ~(np.abs(array) < 2**53) | (array != np.floor(array))  # nan is not below anything
    if wrong.any():
        raise ParameterError(f"{name} must be whole numbers, got {array[wrong].flat[0]}{_where(wrong)}")
    return array.astype(np.int64)


def counts(n: ArrayLike, c: ArrayLike) -> tuple[Integers, Integers]:
    """Return samples and right ones by problem, broadcast against each other.

    Raises
    ------
    ParameterError
        If there is no problem, a problem has no sample, or more right samples than samples.
    """
    samples, right = np.broadcast_arrays(whole(n, "n"), whole(c, "c"))
    if not samples.size:
        raise ParameterError("there is no problem")
    for wrong, message in (
        (samples < 1, "n must be at least 1"),
        (right < 0, "c must be at least 0"),
        (right > samples, "there cannot be more right samples than samples"),
    ):
        if wrong.any():
            first = tuple(np.argwhere(wrong)[0])
            raise ParameterError(f"{message}, got n = {samples[first]} and c = {right[first]}{_where(wrong)}")
    return samples, right


def problems(n: ArrayLike, c: ArrayLike) -> tuple[Integers, Integers]:
    """Return the counts of at least two problems, as one list.

    Raises
    ------
    ParameterError
        If counts are invalid, or there is only one problem, which shows nothing of how problems differ.
    """
    samples, right = counts(n, c)
    if samples.size < 2 or samples.ndim != 1:
        raise ParameterError(f"two problems or more are needed, in one list, got an array of shape {samples.shape}")
    return samples, right


def finite(values: ArrayLike, name: str, least: int = 1) -> Floats:
    """Return one list of finite numbers, `least` of them or more.

    Raises
    ------
    ParameterError
        If there are fewer, or one is missing or infinite.
    """
    array = table(values, name)
    if array.ndim != 1 or array.size < least:
        raise ParameterError(f"{name} must be one list of {least} or more, got an array of shape {array.shape}")
    return array


def table(values: ArrayLike, name: str) -> Floats:
    """Return finite numbers in rows of one length, with any number of axes.

    Raises
    ------
    ParameterError
        If rows have different lengths, or a value is missing or infinite.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be numbers in rows of one length ({error})") from error
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise ParameterError(f"{name} must be finite, got {array[wrong][0]}{_where(wrong)}")
    return array


def pairs(first: ArrayLike, second: ArrayLike, least: int = 2) -> tuple[Floats, Floats]:
    """Return the values of two methods on the same problems.

    Raises
    ------
    ParameterError
        If the two have different lengths, there are too few values, or one is missing.
    """
    one, other = finite(first, "values of the first", least), finite(second, "values of the second", least)
    if one.size != other.size:
        raise ParameterError(f"both must be measured on the same problems, got {one.size} and {other.size}")
    return one, other


def inside(value: float, name: str) -> float:
    """Return a number strictly between 0 and 1, such as a level.

    Raises
    ------
    ParameterError
        If it lies elsewhere.
    """
    if not 0 < value < 1:
        raise ParameterError(f"{name} must lie between 0 and 1, got {value}")
    return float(value)


def _where(wrong: Booleans) -> str:
    """Format the place of the first wrong value, if there are several values."""
    places = np.argwhere(wrong)[0]
    return f" for problem {places[0]}" + f", place {places[1:].tolist()}" * (places.size > 1) if places.size else ""
