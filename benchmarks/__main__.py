"""``python -m benchmarks``: measure servers against each other, as ratios of medians.

Every server is started once per scenario and round, the rounds are interleaved, and a server whose
answers are wrong is out. Needs ``wrk`` and the servers' packages; what is missing is skipped by
name. Single figures mean little on a noisy machine: read the ratios.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Scenario(NamedTuple):
    app: str
    path: str
    expect: bytes
    script: str | None
    connections: int


SCENARIOS = {
    "hello": Scenario("hello", "/", b"Hello, world!\n", None, 64),
    "varied": Scenario("hello", "/", b"Hello, world!\n", "varied.lua", 64),
    "flask": Scenario("flask", "/a/b?page=2", b'"path":"a/b"', "varied.lua", 64),
}


class Pins(NamedTuple):
    """Which core the server gets and which the load, where there are two."""

    server: list[str]
    load: list[str]


def pins() -> Pins:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("taskset") is None:
        return Pins([], [])
    return Pins(["taskset", "-c", str(cores[0])], ["taskset", "-c", str(cores[1])])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def check(port: int, scenario: Scenario, deadline: float) -> None:
    """Wait until the server answers, and see that it answers right."""
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", scenario.path)
            response = connection.getresponse()
            body = response.read()
            connection.close()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if response.status != 200 or scenario.expect not in body:
        raise ValueError(f"wrong answer: {response.status} {body[:80]!r}")


def measure(command: str, scenario: Scenario, options: argparse.Namespace) -> float:
    """Requests per second of one server in one round."""
    port = free_port()
    filled = command.format(
        python=options.python, port=port, threads=options.threads, app=scenario.app
    )
    where = pins()
    server = subprocess.Popen(
        [*where.server, *filled.split()],
        cwd=HERE.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        check(port, scenario, time.monotonic() + 15)
        load = [*where.load, "wrk", "-t1", f"-c{scenario.connections}", f"-d{options.seconds}s"]
        if scenario.script:
            load += ["-s", str(HERE / scenario.script)]
        load.append(f"http://127.0.0.1:{port}{scenario.path}")
        report = subprocess.run(load, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in report:
            raise ValueError("some answers were not 2xx")
        found = re.search(r"Requests/sec:\s+([0-9.]+)", report)
        assert found is not None
        return float(found[1])
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def installed(python: str, package: str) -> str | None:
    """The version of a package in the servers' environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd="/")
    return found.stdout.strip() or None


def main() -> None:
    servers = tomllib.loads((HERE / "servers.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--servers", nargs="+", choices=servers, default=list(servers))
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--python", default=sys.executable, help="where the servers are installed")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed (Debian: apt-get install wrk)")

    chosen = {}
    for name in options.servers:
        version = installed(options.python, servers[name]["package"])
        if version is None:
            print(f"{name}: not installed, skipped")
        else:
            chosen[name] = version
            print(f"{name}: {version}")
    rates: dict[str, dict[str, list[float]]] = {}
    for scenario in options.scenarios:
        rates[scenario] = {name: [] for name in chosen}
        for _ in range(options.rounds):
            for name in chosen:
                try:
                    rate = measure(servers[name]["command"], SCENARIOS[scenario], options)
                except (OSError, ValueError) as error:
                    print(f"{scenario} {name}: void, {error}")
                else:
                    rates[scenario][name].append(rate)
    for scenario, results in rates.items():
        medians = {name: statistics.median(found) for name, found in results.items() if found}
        ours = medians.get("wsgi_async")
        print(f"\n{scenario}: requests/s, median of {options.rounds} rounds")
        for name, rate in sorted(medians.items(), key=lambda item: -item[1]):
            ratio = f"   wsgi_async is {ours / rate:.2f}x" if ours and name != "wsgi_async" else ""
            spread = f"{min(results[name]):,.0f} to {max(results[name]):,.0f}"
            print(f"  {name:16}{rate:10,.0f}   ({spread}){ratio}")
    if options.json:
        options.json.write_text(json.dumps({"servers": chosen, "rates": rates}, indent=1) + "\n")


if __name__ == "__main__":
    main()
