"""The lab: compare ways to store a model by size, speed and divergence from the source."""
