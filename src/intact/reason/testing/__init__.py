"""Tests for methods: a model whose outputs can be enumerated, exact laws, and checks that every method must pass."""
