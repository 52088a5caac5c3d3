"""Audits of engines that are not exact: if a log fits a model and its settings, and where two answers diverge."""
