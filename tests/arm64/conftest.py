"""Tests of the package as scripts/arm64.sh has just built it; without it they would look at some older build."""

import os

import pytest


@pytest.fixture(autouse=True)
def just_built() -> None:
    if "INTACT_ARM64" not in os.environ:
        pytest.skip("run by `scripts/arm64.sh test`, which first builds the package for aarch64 (INTACT_ARM64)")
