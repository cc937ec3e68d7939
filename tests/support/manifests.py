"""Manifests of Kubernetes in examples/deploy/: read, and judged by Kubernetes' own schemas."""

from __future__ import annotations

from typing import Any

import pytest
from tools import ROOT, require_module

__all__ = ["DEPLOY", "OLDEST", "each_version", "load", "validate"]

DEPLOY = ROOT / "examples" / "deploy"
OLDEST = "1.30"
"""The first whose preStop can sleep by itself, as kubernetes.yaml says."""


def load(text: str) -> dict[str, dict[str, Any]]:
    """The documents, by kind: one of each."""
    require_module("yaml")
    import yaml

    found = list(yaml.safe_load_all(text))
    kinds = {document["kind"]: document for document in found}
    assert len(kinds) == len(found)
    return kinds


def _versions() -> list[str]:
    try:
        from kubernetes_validate.utils import all_versions, major_minor
    except ImportError:
        return [OLDEST]
    known: list[str] = [major_minor(version) for version in all_versions()]
    return known[known.index(OLDEST) :]


each_version = pytest.mark.parametrize("version", _versions())
"""Parametrizes a test by the versions of Kubernetes that the manifests are for."""


def validate(document: dict[str, Any], version: str = OLDEST) -> None:
    """By the schemas of that version.

    :raises kubernetes_validate.ValidationError: they refuse it.
    """
    require_module("kubernetes_validate")
    import kubernetes_validate

    assert kubernetes_validate.validate(document, version, strict=True) == version
