"""Tests for methods: a model whose texts can be enumerated, exact laws, and checks that every method must pass."""
