"""Losses, one file each, found by name (`intact.train.registry`)."""
