"""scikit-build-core's build backend, plus a C++ compiler from the Python package index where the machine has none."""

from __future__ import annotations

from scikit_build_core.build import *  # noqa: F403
