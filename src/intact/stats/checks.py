"""Check arguments, and import the libraries that compute statistics."""

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
    if sys.modules.get(package) is None:  # fits ask for loaded modules thousands of times
        check_installed("this", package)
    return import_module(name)


def whole(values: ArrayLike, name: str) -> Integers:
    """Convert whole numbers to integers.

    Raises
    ------
    ParameterError
        If a value is missing, infinite or fractional.
    """
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array.astype(np.int64)
    if array.dtype == object or not np.issubdtype(array.dtype, np.number):
        raise ParameterError(f"{name} must be whole numbers, got {values!r}")
    wrong = ~(np.abs(array) < 2**53) | (array != np.floor(array))  # nan is below nothing
    if wrong.any():
        raise ParameterError(f"{name} must be whole numbers, got {array[wrong].flat[0]}{_where(wrong)}")
    return array.astype(np.int64)


def counts(n: ArrayLike, c: ArrayLike) -> tuple[Integers, Integers]:
    """Return the numbers of samples and of correct samples per problem, broadcast against each other.

    Raises
    ------
    ParameterError
        If there are no problems, or a problem has no samples or more correct samples than samples.
    """
    samples, right = np.broadcast_arrays(whole(n, "n"), whole(c, "c"))
    if not samples.size:
        raise ParameterError("at least one problem is needed")
    for wrong, message in (
        (samples < 1, "n must be at least 1"),
        (right < 0, "c must be at least 0"),
        (right > samples, "c must be at most n"),
    ):
        if wrong.any():
            first = tuple(np.argwhere(wrong)[0])
            raise ParameterError(f"{message}, got n = {samples[first]} and c = {right[first]}{_where(wrong)}")
    return samples, right


def problems(n: ArrayLike, c: ArrayLike) -> tuple[Integers, Integers]:
    """Return the counts of at least two problems as one list.

    Raises
    ------
    ParameterError
        If counts are invalid, or there is only one problem, which says nothing about the variation between problems.
    """
    samples, right = counts(n, c)
    if samples.size < 2 or samples.ndim != 1:
        raise ParameterError(f"at least two problems are needed, in one list, got an array of shape {samples.shape}")
    return samples, right


def finite(values: ArrayLike, name: str, least: int = 1) -> Floats:
    """Return a list of at least `least` finite numbers.

    Raises
    ------
    ParameterError
        If there are fewer, or a value is missing or infinite.
    """
    array = table(values, name)
    if array.ndim != 1 or array.size < least:
        raise ParameterError(f"{name} must be a list of at least {least}, got an array of shape {array.shape}")
    return array


def table(values: ArrayLike, name: str) -> Floats:
    """Return finite numbers in rows of equal length, with any number of axes.

    Raises
    ------
    ParameterError
        If rows have different lengths, or a value is missing or infinite.
    """
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be numbers in rows of equal length ({error})") from error
    wrong = ~np.isfinite(array)
    if wrong.any():
        raise ParameterError(f"{name} must be finite, got {array[wrong][0]}{_where(wrong)}")
    return array


def pairs(first: ArrayLike, second: ArrayLike, least: int = 2) -> tuple[Floats, Floats]:
    """Return the values of two methods on the same problems.

    Raises
    ------
    ParameterError
        If lengths differ, there are too few values, or a value is missing.
    """
    one, other = (
        finite(first, "values of the first method", least),
        finite(second, "values of the second method", least),
    )
    if one.size != other.size:
        raise ParameterError(f"both methods must be measured on the same problems, got {one.size} and {other.size}")
    return one, other


def inside(value: float, name: str) -> float:
    """Return a number strictly between 0 and 1, such as a level.

    Raises
    ------
    ParameterError
        If it is outside this range.
    """
    if not 0 < value < 1:
        raise ParameterError(f"{name} must lie between 0 and 1, got {value}")
    return float(value)


def _where(wrong: Booleans) -> str:
    """Format the index of the first wrong value, if there are several values."""
    places = np.argwhere(wrong)[0]
    return f" for problem {places[0]}" + f", place {places[1:].tolist()}" * (places.size > 1) if places.size else ""
