"""Evaluations: runs of methods on tasks, their manifests and result files, grading, reports."""
