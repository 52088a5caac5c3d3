"""Conversations with a model: messages, branches and the file that stores them."""
