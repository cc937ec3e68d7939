"""examples/deploy/kubernetes-autoscaling.yaml: by Kubernetes' own schemas, beside the Deployment
that it is for, and its metrics beside what a server exposes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from expositions import exposition, parsed
from manifests import DEPLOY, each_version, load, validate
from promql import faults
from rawclient import TIMEOUT
from tools import ROOT, require_module

MANIFEST = DEPLOY / "kubernetes-autoscaling.yaml"


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    return load(MANIFEST.read_text())


@pytest.fixture
def autoscaler(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = documents["HorizontalPodAutoscaler"]["spec"]
    return spec


@pytest.fixture(scope="module")
def rules(documents: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What prometheus-adapter is told."""
    import yaml

    found: list[dict[str, Any]] = yaml.safe_load(documents["ConfigMap"]["data"]["config.yaml"])[
        "rules"
    ]
    return found


@each_version
def test_the_schemas_accept_it(version: str, documents: dict[str, dict[str, Any]]) -> None:
    assert set(documents) == {"HorizontalPodAutoscaler", "ConfigMap"}
    for document in documents.values():
        validate(document, version)


@pytest.mark.parametrize(
    ("old", "new"),
    [("maxReplicas: 12", "maxReplicas: many"), ("scaleTargetRef:", "target:"), ("pods:", "pod:")],
)
def test_the_schemas_refuse_what_is_wrong(old: str, new: str) -> None:
    """Names and types: else the test above would show nothing."""
    require_module("kubernetes_validate")
    import kubernetes_validate

    text = MANIFEST.read_text()
    assert old in text
    wrong = load(text.replace(old, new))["HorizontalPodAutoscaler"]
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(wrong)


def test_it_is_for_the_deployment_beside_it(autoscaler: dict[str, Any]) -> None:
    others = load((DEPLOY / "kubernetes.yaml").read_text())
    deployment = others["Deployment"]
    assert autoscaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    # Else no node could ever be emptied.
    assert autoscaler["minReplicas"] > others["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert autoscaler["minReplicas"] == deployment["spec"]["replicas"] < autoscaler["maxReplicas"]


def test_the_option_that_it_needs_is_one() -> None:
    """Beside all that the container has; and not for the pod alone, where nobody could read it."""
    others = load((DEPLOY / "kubernetes.yaml").read_text())
    [container] = others["Deployment"]["spec"]["template"]["spec"]["containers"]
    [option] = re.findall(r"^#   - (--metrics-bind=\S+)$", MANIFEST.read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "wsgi_async", *container["command"][1:], option, "--print-config"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = tomllib.loads(done.stdout)["metrics_bind"]
    assert told == "0.0.0.0:9100"
    assert int(told.rpartition(":")[2]) not in [
        each["containerPort"] for each in container["ports"]
    ]


def test_each_metric_that_is_asked_for_has_a_rule(
    autoscaler: dict[str, Any], rules: list[dict[str, Any]]
) -> None:
    asked = [each["pods"]["metric"]["name"] for each in autoscaler["metrics"]]
    assert sorted(asked) == sorted(rule["name"]["as"] for rule in rules)


def test_the_rules_ask_for_what_a_server_exposes(rules: list[dict[str, Any]]) -> None:
    """As prometheus-adapter fills them in, for pods."""
    families = parsed(exposition()[1])
    for rule in rules:
        assert faults(rule["seriesQuery"], families) == []
        series = rule["seriesQuery"].partition("{")[0]
        assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}
        query = rule["metricsQuery"]
        for name, value in (
            ("<<.Series>>", series),
            ("<<.LabelMatchers>>", 'namespace="shop",pod=~"mysite-1|mysite-2"'),
            ("<<.GroupBy>>", "pod"),
        ):
            assert name in query
            query = query.replace(name, value)
        assert "<<" not in query
        assert faults(query, families) == []


def test_a_share_is_aimed_at_below_one(autoscaler: dict[str, Any]) -> None:
    """Above it a pod could not be told from one that has far too few threads."""
    [target] = [
        each["pods"]["target"]
        for each in autoscaler["metrics"]
        if each["pods"]["metric"]["name"].endswith("_ratio")
    ]
    match = re.fullmatch(r"([0-9]+)m", target["averageValue"])
    assert match is not None
    assert 0 < int(match[1]) < 1000
