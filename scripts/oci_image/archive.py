"""Archives: an OCI image layout in a tar, which Docker, podman, buildah and skopeo read.

Sources: the OCI image specification 1.1 (image-layout, manifest, config), and the `manifest.json` that `docker save`
adds, which `docker load` reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oci_image.layers import TIME, Layer
from oci_image.settings import Facts, run_settings

_OCI = "application/vnd.oci.image"
MANIFEST, INDEX, CONFIG, LAYER = (
    f"{_OCI}.{kind}" for kind in ("manifest.v1+json", "index.v1+json", "config.v1+json", "layer.v1.tar+gzip")
)
_VARIANTS = {"arm64": {"variant": "v8"}}


@dataclass(frozen=True)
class Image:
    """An image for one architecture (``amd64`` or ``arm64``), with its layers from the lowest to the topmost."""

    architecture: str
    layers: tuple[Layer, ...]
    facts: Facts

    @property
    def platform(self) -> dict[str, str]:
        """The platform, as in manifests."""
        return {"architecture": self.architecture, "os": "linux", **_VARIANTS.get(self.architecture, {})}

    @property
    def config(self) -> bytes:
        """The configuration."""
        history = [{"created": self.facts.created, "created_by": f"intact: {layer.title}"} for layer in self.layers]
        return encode(
            {
                **self.platform,
                "created": self.facts.created,
                "config": run_settings(self.facts),
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
                "history": history,
            }
        )

    @property
    def manifest(self) -> bytes:
        """The manifest."""
        layers = [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in self.layers]
        config = descriptor(CONFIG, self.config)
        return encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})

    @property
    def size(self) -> int:
        """Bytes that a machine without any of its layers downloads."""
        return len(self.manifest) + len(self.config) + sum(layer.size for layer in self.layers)


def encode(value: Any) -> bytes:
    """Encode a value as JSON, with the same bytes each time."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def descriptor(kind: str, data: bytes) -> dict[str, Any]:
    """Describe a blob."""
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def write_archive(path: Path, images: Sequence[Image], name: str) -> None:
    """Write images as one archive; only an archive of a single image has the `manifest.json` that `docker load` reads.

    Parameters
    ----------
    images : sequence of Image
        One image, or one for each architecture.
    name : str
        Name and tag, such as ``intact:0.2.0``.
    """
    blobs: dict[str, bytes | Path] = {}
    manifests = []
    for image in images:
        blobs |= {layer.digest: layer.path for layer in image.layers}
        blobs |= {descriptor(CONFIG, image.config)["digest"]: image.config}
        manifests.append(descriptor(MANIFEST, image.manifest) | {"platform": image.platform})
        blobs[manifests[-1]["digest"]] = image.manifest
    files: dict[str, bytes | Path] = {"oci-layout": encode({"imageLayoutVersion": "1.0.0"})}
    if len(images) == 1:
        files["manifest.json"] = encode([_docker_manifest(images[0], name)])
        (top,) = manifests
    else:
        inner = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        top = descriptor(INDEX, inner)
        blobs[top["digest"]] = inner
    top = top | {"annotations": {"org.opencontainers.image.ref.name": name.rpartition(":")[2]}}
    files["index.json"] = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]})
    files |= {blob_path(digest): content for digest, content in blobs.items()}
    partial = path.with_name(path.name + ".partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in ("blobs", "blobs/sha256"):
            tar.addfile(_entry(folder, kind=tarfile.DIRTYPE, mode=0o755))
        for file, content in sorted(files.items()):
            _add_file(tar, file, content)
    partial.rename(path)


def blob_path(digest: str) -> str:
    """Return the path of a blob in a layout."""
    return f"blobs/{digest.replace(':', '/')}"


def _docker_manifest(image: Image, name: str) -> dict[str, Any]:
    return {
        "Config": blob_path(descriptor(CONFIG, image.config)["digest"]),
        "RepoTags": [name],
        "Layers": [blob_path(layer.digest) for layer in image.layers],
    }


def _add_file(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        tar.addfile(_entry(name, size=len(content)), io.BytesIO(content))
        return
    with content.open("rb") as file:
        tar.addfile(_entry(name, size=content.stat().st_size), file)


def _entry(name: str, size: int = 0, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode, info.mtime = size, kind, mode, TIME
    return info
