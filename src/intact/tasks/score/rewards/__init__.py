"""Reward models from the Hub; each family has its own input format and its own file."""

from intact.tasks.score.rewards.base import RewardModel, families, open_reward

__all__ = ["RewardModel", "families", "open_reward"]
