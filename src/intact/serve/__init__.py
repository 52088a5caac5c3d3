"""An HTTP server behind OpenAI's interface (docs/server.md): exact answers, many at a time."""

PACKAGES = (*("fastapi", "httptools", "llguidance", "prometheus-client", "pydantic", "python-multipart", "uvicorn"),)
"""The packages that the server needs, as in pyproject.toml."""
