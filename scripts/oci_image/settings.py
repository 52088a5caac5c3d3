"""How a container of the image is run: its user, port, variables, command and health check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

USER = 10001
"""User and group of the server, which owns the store of models and nothing else."""
HOME = "/var/lib/intact"
"""Home of that user, and `INTACT_HOME`."""
PORT = 11434
"""Ollama's port."""
SECOND = 1_000_000_000
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": HOME,
    "INTACT_HOME": HOME,
    "OLLAMA_HOST": f"0.0.0.0:{PORT}",
    "PYTHONDONTWRITEBYTECODE": "1",
    "XDG_RUNTIME_DIR": "/tmp",  # for the same user's socket, also where the rest is read-only
}


@dataclass(frozen=True)
class Facts:
    """What the labels state.

    Attributes
    ----------
    version, revision : str
        The package's version, and the commit.
    model, sha256, licence : str
        Name, digest and licence of the model inside.
    created : str
        Time of the build, such as ``2026-12-01T00:00:00Z``.
    """

    version: str
    revision: str
    model: str
    sha256: str
    licence: str
    created: str

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the image."""
        return {
            "intact.model": self.model,
            "intact.model.licence": self.licence,
            "intact.model.sha256": self.sha256,
            "org.opencontainers.image.created": self.created,
            "org.opencontainers.image.description": f"Ollama's and OpenAI's APIs with {self.model}, exact to the bit",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.revision": self.revision,
            "org.opencontainers.image.title": "intact",
            "org.opencontainers.image.version": self.version,
        }


def run_settings(facts: Facts) -> dict[str, Any]:
    """Return the field `config` of an image's configuration; Docker adds the health check to OCI's fields."""
    return {
        "User": f"{USER}:{USER}",
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
        "Entrypoint": ["/usr/bin/ollama"],
        "Cmd": ["serve"],
        "WorkingDir": HOME,
        "StopSignal": "SIGTERM",
        "Labels": facts.labels,
        "Healthcheck": {
            "Test": ["CMD", "/usr/bin/ollama", "health"],
            "Interval": 15 * SECOND,
            "Timeout": 10 * SECOND,
            "StartPeriod": 60 * SECOND,
            "Retries": 3,
        },
    }
