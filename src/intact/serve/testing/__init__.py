"""Testing of agents: a pytest plugin that serves a model and compares every answer with a lock file."""
