"""Audits of engines that are not exact: does a log fit a model and its settings, and where do two answers diverge?"""
