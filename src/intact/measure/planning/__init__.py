"""Cluster plans: the part of a model that each machine would hold and compute, and its speed, from measured costs."""
