"""Training data: files in the formats of TRL and mlx-lm become token sequences with weights of the loss."""

from intact.train.data.load import Dataset, DataSettings, load_data

__all__ = ["DataSettings", "Dataset", "load_data"]
