"""An HTTP server behind OpenAI's interface (docs/server.md): exact answers, many at a time."""
