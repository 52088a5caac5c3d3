"""Tests of agents: a plugin for pytest that serves a model, and holds every answer against a lock file."""
