"""What others publish and we are held to: schemas, contracts, vectors. Read where they are, never copied."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

SHARED: Final = Path(os.environ.get("VORDR_SHARED") or Path(__file__).resolve().parents[2] / "shared")
"""The folder beside the repository, or where VORDR_SHARED says."""


def published(path: str) -> Path:
    """A published file or folder, by its path below ``SHARED``; AssertionError when it is not there."""
    found = SHARED / path
    assert found.exists(), f"{found} is missing: set VORDR_SHARED to the folder that has {path}"
    return found


def published_spec(path: str) -> Path:
    """A file or folder of verified-container-spec."""
    return published(f"verified-container-spec/{path}")


def spec_document(path: str) -> Any:
    """A JSON document of verified-container-spec, as ``schema/trust-store.schema.json``."""
    return json.loads(published_spec(path).read_bytes())


def svalinn_schema(name: str) -> dict[str, Any]:
    """One of Svalinn's schemas, as ``doctor-report.v1.json``."""
    schema: dict[str, Any] = json.loads(published(f"svalinn/schemas/{name}").read_bytes())
    return schema
