"""An HTTP server behind OpenAI's interface (docs/server.md): exact answers, many at a time."""

PACKAGES = (
    *(
        "fastapi",
        "httptools",
        "llguidance",
        "math-verify",
        "sympy",
        "prometheus-client",
        "pydantic",
        "python-multipart",
    ),
    "uvicorn",
)
"""The packages that the server and the methods behind it need, as in pyproject.toml."""
