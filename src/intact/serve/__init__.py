"""An OpenAI-compatible HTTP server (docs/server.md): exact answers to many concurrent requests.

`app`, `server`, `middleware`, `admission`, `service` and `state` run the server; `forms`, `requests`, `leniency`,
`chat`, `tools`, `thinking`, `mixes`, `methods` and `generation` turn a request body into completions; `replies`,
`listing` and `errors` send the response; `models` loads and unloads models. `apis` contains the endpoints, `page` the
web page, `replicas` the fleet, `cassette` recorded answers, `testing` the pytest plugin; the last two use `exchange`,
`background` and `client_variables`. `metrics`, `telemetry`, `tracing` and `logs` are for monitoring, and `identity`,
`same_user`, `settings` and `calibrations` are shared.
"""

PACKAGES = (*("fastapi", "httptools", "llguidance", "prometheus-client", "pydantic", "python-multipart", "uvicorn"),)
"""Packages that the server needs, as listed in pyproject.toml."""
