"""An OpenAI-compatible HTTP server (docs/server.md): exact answers to many concurrent requests.

`app`, `server`, `middleware`, `admission`, `service` and `state` run the server; `forms`, `requests`, `leniency`,
`chat`, `tools`, `thinking`, `mixes`, `methods` and `generation` take a request from its body to its completions;
`replies`, `listing` and `errors` answer it; `models` loads and unloads models. `apis` has the endpoints, `page` the web
page, `replicas` the fleet, `cassette` recorded answers, `testing` the pytest plugin; the last two use `exchange`,
`background` and `client_variables`. `metrics`, `telemetry`, `tracing` and `logs` observe, and `identity`, `same_user`,
`settings` and `calibrations` are shared.
"""

PACKAGES = (*("fastapi", "httptools", "llguidance", "prometheus-client", "pydantic", "python-multipart", "uvicorn"),)
"""Packages that the server needs, as listed in pyproject.toml."""
