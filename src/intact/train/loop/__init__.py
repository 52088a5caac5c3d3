"""The training loop: forward by the engine, gradient, and step."""
