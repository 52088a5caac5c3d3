"""The lab: compare ways to store a model, in size, speed and divergence from the source."""
