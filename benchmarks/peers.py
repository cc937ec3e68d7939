"""``python -m benchmarks.peers DIR``: an environment with all servers, each installed on its own.

DIR becomes a virtual environment with what ``peers.txt`` lists and this checkout of wsgi_async.
What cannot be installed is named and left out; ``DIR/bin/python -m benchmarks`` then runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main", "requirements"]

HERE = Path(__file__).resolve().parent


def requirements(text: str) -> list[list[str]]:
    """The lines of peers.txt, each a list of what is installed together."""
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    return [line for line in lines if line]


def install(python: Path, wanted: Sequence[str]) -> str | None:
    """Install some requirements; the last line of pip's complaint if that does not work."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    errors = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
    return (errors or done.stderr.strip().splitlines() or ["pip failed"])[-1]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("directory", type=Path, help="of the environment; may exist")
    parser.add_argument("--python", default=sys.executable, help="which Python (default: this)")
    options = parser.parse_args(argv)
    python = options.directory / "bin" / "python"
    if not python.exists():
        subprocess.run([options.python, "-m", "venv", str(options.directory)], check=True)
    failed = []
    wanted = [["-e", str(HERE.parent)]]
    wanted += requirements((HERE / "peers.txt").read_text(encoding="utf-8"))
    for line in wanted:
        name = "wsgi_async" if line[0] == "-e" else " ".join(line)
        print(f"{name} ... ", end="", flush=True)
        problem = install(python, line)
        print("installed" if problem is None else f"left out: {problem}", flush=True)
        if problem is not None:
            failed.append(name)
    if failed:
        print(f"left out: {', '.join(failed)}")
    print(f"now: {python} -m benchmarks")
    return 1 if "wsgi_async" in failed else 0


if __name__ == "__main__":
    sys.exit(main())
