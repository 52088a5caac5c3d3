"""Outputs of engines that are not exact: whether they fit a model and its settings, and where two runs part."""
