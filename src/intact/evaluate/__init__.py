"""Evaluations: run methods on tasks, record manifests and result files, grade answers, write reports."""
