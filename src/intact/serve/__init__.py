"""An OpenAI-compatible HTTP server (docs/server.md): exact answers to many concurrent requests."""

PACKAGES = (*("fastapi", "httptools", "llguidance", "prometheus-client", "pydantic", "python-multipart", "uvicorn"),)
"""Packages that the server needs, as listed in pyproject.toml."""
