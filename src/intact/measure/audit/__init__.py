"""Audit engines that are not exact: check that a log fits a model and its settings, or find where answers diverge."""
