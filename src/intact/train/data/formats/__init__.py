"""Row formats, one file each, found by name (`intact.train.data.registry`): TRL's data set types, and mlx-lm's."""
