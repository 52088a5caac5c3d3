"""The container image: how it is written, what its command does, and that it runs."""
