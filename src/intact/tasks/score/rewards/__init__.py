"""Reward models of the hub, each family read in its own way; one file a family."""

from intact.tasks.score.rewards.base import RewardModel, families, open_reward

__all__ = ["RewardModel", "families", "open_reward"]
