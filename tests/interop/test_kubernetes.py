"""examples/deploy/kubernetes.yaml: by Kubernetes' own schemas, against the server's options, and
the command of its container run for real, probed as the kubelet does it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest
from manifests import DEPLOY, OLDEST, each_version, load, validate
from rawclient import TIMEOUT, RawClient, request
from serving import Command
from tools import ROOT, python, require_module, require_program, running

from wsgi_async.config.option import parse_duration, parse_size

T = TypeVar("T")

MANIFEST = DEPLOY / "kubernetes.yaml"
STUCK = 5
"""Seconds that a stop takes more where a thread is stuck."""

APPLICATION = """
import os

def application(environ, start_response):
    size = len(environ["wsgi.input"].read())
    facts = (os.getuid(), size, environ["wsgi.url_scheme"], environ["REMOTE_ADDR"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(map(str, facts)).encode()]
"""


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    return load(MANIFEST.read_text())


@pytest.fixture
def pod(documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: dict[str, Any]) -> dict[str, Any]:
    [found] = pod["containers"]
    return dict(found)


def options(container: dict[str, Any]) -> dict[str, Any]:
    """Each option of the container's server, defaults too."""
    done = subprocess.run(
        [sys.executable, "-m", "wsgi_async", *container["command"][1:], "--print-config"],
        env={**clean(), **environment(container)},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return tomllib.loads(done.stdout)


def clean() -> dict[str, str]:
    kept = ("WSGI_ASYNC_", "PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PYTHONPATH")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(kept)}
    return {**rest, "PYTHONPATH": str(ROOT)}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


def quantity(text: str) -> int:
    """Kubernetes' Mi and Gi are our MiB and GiB."""
    return parse_size(f"{text}B")


def seconds(probe: dict[str, int]) -> int:
    """How long it may fail before that has consequences."""
    return probe["periodSeconds"] * probe["failureThreshold"]


# --- What Kubernetes says


@each_version
def test_the_schemas_accept_it(version: str, documents: dict[str, dict[str, Any]]) -> None:
    assert set(documents) == {"Deployment", "Service", "PodDisruptionBudget"}
    for document in documents.values():
        validate(document, version)


@pytest.mark.parametrize(
    ("old", "new"), [("startupProbe:", "startProbe:"), ("periodSeconds: 2", "periodSeconds: 2s")]
)
def test_the_schemas_refuse_what_is_wrong(old: str, new: str) -> None:
    """Names and types: else the test above would show nothing."""
    require_module("kubernetes_validate")
    import kubernetes_validate

    text = MANIFEST.read_text()
    assert old in text
    deployment = load(text.replace(old, new, 1))["Deployment"]
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(deployment)


def test_the_older_schemas_know_no_such_sleep(documents: dict[str, dict[str, Any]]) -> None:
    """So the version that the manifest names is the right one."""
    require_module("kubernetes_validate")
    import kubernetes_validate

    with pytest.raises(kubernetes_validate.ValidationError, match="sleep"):
        validate(documents["Deployment"], "1.28")
    assert f"Kubernetes ({OLDEST} or later)" in MANIFEST.read_text()


def test_the_three_are_about_the_same_pods(documents: dict[str, dict[str, Any]]) -> None:
    deployment = documents["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert documents["Service"]["spec"]["selector"] == labels
    budget = documents["PodDisruptionBudget"]["spec"]
    assert budget["selector"]["matchLabels"] == labels
    # Else no node could ever be emptied.
    assert deployment["replicas"] > budget["maxUnavailable"] > 0


# --- What the server says


def test_ports_and_paths_are_the_options(
    documents: dict[str, dict[str, Any]], container: dict[str, Any]
) -> None:
    told = options(container)
    [port] = container["ports"]
    assert told["bind"] == [f":{port['containerPort']}"]
    [service] = documents["Service"]["spec"]["ports"]
    assert service["targetPort"] == port["name"]
    for name, option in [
        ("startupProbe", "ready_path"),
        ("readinessProbe", "ready_path"),
        ("livenessProbe", "health_path"),
    ]:
        assert container[name]["httpGet"] == {"path": told[option], "port": port["name"]}


def test_nobody_is_killed_before_the_graceful_timeout(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    told = options(container)
    drain = parse_duration(told["drain_delay"])
    graceful = parse_duration(told["graceful_timeout"])
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert min(before, drain, graceful) > 0
    assert pod["terminationGracePeriodSeconds"] > before + drain + graceful + STUCK


def test_probes_fit_to_the_servers_own_watch(container: dict[str, Any]) -> None:
    told = options(container)
    # The kubelet has seen /readyz fail before the server stops accepting.
    assert seconds(container["readinessProbe"]) <= parse_duration(told["drain_delay"])
    assert seconds(container["startupProbe"]) > parse_duration(told["boot_timeout"])
    assert seconds(container["livenessProbe"]) > parse_duration(told["timeout"])
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["timeoutSeconds"] <= container[name]["periodSeconds"]


def test_what_all_processes_take_fits_in(pod: dict[str, Any], container: dict[str, Any]) -> None:
    told = options(container)
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    spool = volumes[mounts[told["spool_dir"]]]
    assert "medium" not in spool
    assert quantity(spool["sizeLimit"]) > told["workers"] * parse_size(told["max_spool_size"])
    # The kubelet evicts who is above the limit; half of it is left for the application.
    memory = quantity(container["resources"]["limits"]["memory"])
    assert memory >= 2 * told["workers"] * parse_size(told["max_buffer_size"])


def test_the_user_is_the_images(pod: dict[str, Any], container: dict[str, Any]) -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user = re.search(r"^USER ([0-9]+)$", dockerfile, re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user[1])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert f"WSGI_ASYNC_SPOOL_DIR={options(container)['spool_dir']}\n" in dockerfile


def test_the_server_takes_the_command(tmp_path: Path, container: dict[str, Any]) -> None:
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite" / "wsgi.py").write_text(APPLICATION)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "wsgi_async"),
            *arguments(container, container["command"][1], tmp_path),
            "--check-config",
        ],
        cwd=tmp_path,
        env={**clean(), **environment(container)},
        timeout=TIMEOUT,
        capture_output=True,
        text=True,
    )
    said = "The configuration and the application mysite.wsgi:application are good\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


# --- The container's life


def arguments(container: dict[str, Any], application: str, spool: Path) -> list[str]:
    """The command without the program, with other addresses and directories."""
    program, _, *words = container["command"]
    assert program == "wsgi-async"
    places = {"--bind": "127.0.0.1:0", "--spool-dir": str(spool)}
    pairs = [word.partition("=") for word in words]
    assert places.keys() <= {name for name, _, _ in pairs}
    return [
        application,
        *(name + equals + places.get(name, value) for name, equals, value in pairs),
    ]


def probe(address: Any, container: dict[str, Any], name: str) -> int:
    """Ask as the kubelet does: by HTTP/1.1, on a connection of its own, with the pod's address as
    Host."""
    with RawClient(address) as client:
        path = container[name]["httpGet"]["path"]
        head = f"GET {path} HTTP/1.1\r\nHost: 10.244.1.7:8000\r\nUser-Agent: kube-probe/1.30\r\n"
        client.send(f"{head}Accept: */*\r\nConnection: close\r\n\r\n".encode())
        return client.response().status


def until(look: Callable[[], T], is_wanted: Callable[[T], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_wanted(found := look()):
        assert time.monotonic() < deadline, found


def test_the_life_of_a_pod(tmp_path: Path, container: dict[str, Any]) -> None:
    (tmp_path / "site.py").write_text(APPLICATION)
    words = arguments(container, str(tmp_path / "site.py"), tmp_path)
    names = ("startupProbe", "readinessProbe", "livenessProbe")
    with Command(*words, env=environment(container)) as server:
        address = server.address
        assert [probe(address, container, name) for name in names] == [200, 200, 200]
        with server.client() as kept:
            assert "connection" not in kept.get("/").fields
            server.signal(signal.SIGTERM)
            # Answered all the same, and asked to come no more; nothing else tells of a drain.
            until(lambda: kept.get("/"), lambda answer: answer.fields.get("connection") == "close")
        until(
            lambda: [probe(address, container, name) for name in names],
            lambda codes: codes == [503, 503, 200],
        )
        server.signal(signal.SIGQUIT)  # the rest of the delay
        server.wait()
        server.assert_clean()


@pytest.mark.parametrize("is_named", [False, True])
def test_the_network_that_is_named_is_believed(
    is_named: bool, tmp_path: Path, container: dict[str, Any]
) -> None:
    """Whoever comes from elsewhere is not, not even from this machine."""
    (tmp_path / "site.py").write_text(APPLICATION)
    env = environment(container)
    assert ip_network(env["FORWARDED_ALLOW_IPS"]).is_private
    if is_named:
        env["FORWARDED_ALLOW_IPS"] = "127.0.0.0/8"
    fields = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")
    words = arguments(container, str(tmp_path / "site.py"), tmp_path)
    with Command(*words, env=env) as server, server.client() as client:
        client.send(request(fields=fields))
        found = client.response().body.decode().split()[2:]
        assert found == (["https", "203.0.113.9"] if is_named else ["http", "127.0.0.1"])


@contextlib.contextmanager
def everybodys_directory() -> Iterator[Path]:
    """A directory that another user may enter; pytest's own is private."""
    directory = Path(tempfile.mkdtemp(prefix="wsgi-async-", dir="/tmp"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


def may_mount() -> bool:
    """Whether this process can have a file system of its own."""
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        return False
    return subprocess.run([unshare, "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="needs root, and a file system of its own")
def test_nothing_is_written_but_into_the_volume(
    pod: dict[str, Any], container: dict[str, Any]
) -> None:
    """As the container runs it: a read-only root, no capabilities, a user without a home."""
    setpriv = require_program("setpriv")
    user = str(pod["securityContext"]["runAsUser"])
    bare = (
        f"{setpriv} --reuid {user} --regid {user} --clear-groups --no-new-privs "
        "--bounding-set=-all --inh-caps=-all"
    )
    if subprocess.run([*bare.split(), *python("-c", "")], capture_output=True).returncode:
        pytest.skip("no other user may run this interpreter")
    with everybodys_directory() as directory:
        (directory / "site.py").write_text(APPLICATION)
        spool = directory / "spool"
        spool.mkdir()
        shutil.chown(spool, int(user), int(user))
        # Each mount is its own: all but the volume become read-only.
        become = (
            f"mount --make-rprivate / && mount --bind {spool} {spool} && "
            "for at in $(cut -d' ' -f2 /proc/mounts); do "
            f'[ "$at" = {spool} ] || mount -o remount,bind,ro "$at" 2>/dev/null || true; done && '
            f'! touch {directory}/written 2>/dev/null && exec {bare} "$@"'
        )
        server = python(
            "-m", "wsgi_async", *arguments(container, str(directory / "site.py"), spool)
        )
        with running(
            *("unshare", "--mount", "sh", "-c", become, "sh", *server),
            cwd=directory,
            env={**environment(container), "TMPDIR": "/nowhere", "HOME": "/nowhere"},
        ) as process:
            address = process.url.rpartition("/")[2].split(":")
            body = b"x" * 3_000_000  # above --spool-threshold
            with RawClient((address[0], int(address[1]))) as client:
                client.send(request(method="POST", body=body))
                found = client.response().body.decode().split()
            assert found[:2] == [user, str(len(body))]
            process.signal(signal.SIGQUIT)
            process.wait()
        assert "Traceback" not in process.output, process.output
