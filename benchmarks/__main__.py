"""``python -m benchmarks``: measure WSGI servers against each other, as ratios of medians.

Every server is started once per scenario and round, the servers take turns round by round, and one
whose answers are wrong is out. Needs ``wrk``; a server that is not installed is skipped by name.
``python -m benchmarks.peers DIR`` installs them all. What it prints last is a Markdown table for
each scenario; figures of one run mean little on a noisy machine: read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import FrameType

from .harness import certificates, record, rounds, servers
from .harness.model import Scenario
from .harness.processes import allow_descriptors, stage
from .harness.record import Run
from .reporting import compare, publish, report

CHECKOUT = Path(__file__).resolve().parent.parent
INTERRUPTED = 130

COMPARE = """
--compare OLD: with a directory, another checkout of this project, both checkouts' wsgi_async are
measured by turns, as often as it takes to tell them apart, within bounds. With a JSON file, this
run is judged beside that one (or NEW.json beside OLD.json, without measuring), by what the servers
in both have changed by. The exit status is 1 if a scenario is slower, or void more often than it
was, 2 if the two cannot be compared or nothing could be judged. At most one table in a hundred says
"slower" or "faster" of what is equal, however noisy the machine is; benchmarks/README.md says how.
"""


class Stop(Exception):
    """The command ends here; the message is one line for the user."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=(__doc__ or "").partition(": ")[2],
        epilog=COMPARE,
    )
    add = parser.add_argument
    add("--servers", nargs="+", metavar="NAME", help="servers, or all (default: see --list)")
    add("--scenarios", nargs="+", metavar="NAME", help="scenarios (default: all)")
    add("--rounds", type=int, metavar="N", help="default 3, with --compare as many as it takes")
    add("--seconds", type=float, default=2.0, help="of load per round (default: 2)")
    add("--threads", type=int, default=8, help="of each server (default: 8)")
    add(
        "--options",
        default="",
        metavar="TEXT",
        help="more of this project's servers, one word: '--options=--access-logfile=-'",
    )
    add("--python", default=sys.executable, help="the Python the servers are installed for")
    add("--json", type=Path, metavar="FILE", help="write every sample to this file")
    add("--into", type=Path, metavar="FILE", help="or into this one, beside other scenarios there")
    add("--list", action="store_true", help="list servers and scenarios")
    add("--compare", nargs="+", type=Path, metavar=("OLD", "NEW.json"), help="see below")
    add(
        "--render",
        nargs="?",
        type=Path,
        const=publish.RESULTS,
        metavar="DIR",
        help="measure nothing: write README.md and the plots from the JSON files in DIR "
        "(default: benchmarks/results)",
    )
    options = parser.parse_args(argv)
    if options.compare and len(options.compare) > 2:
        parser.error("--compare takes one or two names")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.seconds <= 0 or options.threads < 1:
        parser.error("--seconds and --threads must be above 0")
    return options


def scenarios(names: Sequence[str] | None) -> dict[str, Scenario]:
    """The named ones, or all.

    :raises Stop: there is no such scenario.
    """
    from .scenarios import SCENARIOS

    if names is None:
        return dict(SCENARIOS)
    for name in names:
        if name not in SCENARIOS:
            raise Stop(f"no scenario {name!r}; there are {', '.join(SCENARIOS)}")
    return {name: SCENARIOS[name] for name in names}


def show_list() -> None:
    print("servers (* with --servers or --servers all only):")
    for name, template in servers.load().items():
        print(f"  {name + ('' if template.default else ' *'):18} {template.shown(8)}")
    print("scenarios:")
    for name, scenario in scenarios(None).items():
        print(f"  {name:18} {scenario.about} ({scenario.unit})")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(
    options: argparse.Namespace, old: Path | None, into: list[Run], keep: Callable[[Run], None]
) -> bool:
    """Measure, and put the run in `into` before its first figure is there.

    :param old: another checkout, to be measured by turns with this one.
    :param keep: called with the run after each figure.
    :returns: whether it went to its end, and was not interrupted.
    :raises Stop: something that it needs is missing.
    """
    chosen = scenarios(options.scenarios)
    names = options.servers
    if old is not None:
        names = names or [servers.OURS]
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(stage(CHECKOUT))
        try:
            templates = servers.select(names, options.options, _also(chosen))
            python = servers.probe(options.python, templates.values(), here)
        except servers.UnknownServer as error:
            raise Stop(str(error)) from None
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            raise Stop(f"--python {options.python} does not run: {_last(error)}") from None
        contenders = []
        if any(scenario.tls for scenario in chosen.values()):
            _certified(here)
        found = Run(
            record.environment(python.version, CHECKOUT),
            rounds=options.rounds or 3,
            seconds=options.seconds,
            threads=options.threads,
            packages=python.others(),
            scenarios={name: _kind(one, templates) for name, one in chosen.items()},
        )
        for name, template in templates.items():
            if name in python.problems:
                found.skipped[name] = python.problems[name]
                say(f"{name}: skipped, {python.problems[name]}")
                continue
            version = python.packages.get(template.package, "unknown")
            found.servers[name] = record.Measured(
                version, template.shown(options.threads), template.one_thread
            )
            only_also = names is None and not template.default
            contenders.append(rounds.Contender(name, template, here, only_also=only_also))
            say(f"{name}: {version}")
        if old is not None:
            there = stack.enter_context(stage(old))
            certificates.copy(here, there)
            contenders = _paired(contenders, old, there, found, options)
            found.rounds = options.rounds or compare.most_rounds(compare.table_length(found))
        for directory in dict.fromkeys(contender.directory for contender in contenders):
            say(f"wsgi_async of {_origin(options.python, directory)}")
        into.append(found)
        allow_descriptors()
        plan = rounds.Plan(
            contenders, chosen, python, found.rounds, options.seconds, options.threads
        )
        if old is not None and options.rounds is None:
            plan = replace(plan, enough=partial(compare.is_decided, found))
        try:
            for row in rounds.measure(plan):
                found.rows.append(row)
                keep(found)
        except KeyboardInterrupt:
            say("interrupted: what was measured so far is kept")
            return False
    return True


def _paired(
    contenders: Sequence[rounds.Contender],
    old: Path,
    there: Path,
    found: Run,
    options: argparse.Namespace,
) -> list[rounds.Contender]:
    """Each server of this checkout followed by the other's, which gets its own version.

    :param there: a stage of the checkout `old`.
    :raises Stop: there is none, or the other checkout's does not run.
    """
    ours = [one.template for one in contenders if servers.is_ours(one.label)]
    if not ours:
        raise Stop(f"--compare {old}: none of --servers is of this project, or none runs")
    try:
        python = servers.probe(options.python, ours, there)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise Stop(f"--compare {old} does not run: {_last(error)}") from None
    paired = []
    for one in contenders:
        paired.append(one)
        if one.template not in ours:
            continue
        if one.label in python.problems:
            raise Stop(f"--compare {old} does not run: {python.problems[one.label]}")
        label = compare.old_label(one.label)
        version = python.packages.get(one.template.package, "unknown")
        found.servers[label] = record.Measured(version, found.servers[one.label].command)
        paired.append(rounds.Contender(label, one.template, there, partner=one.label))
        say(f"{label}: {version}")
    found.environment["old commit"] = record.commit(old)
    return paired


def _last(error: Exception) -> str:
    """What a Python that failed wrote last, or what is known otherwise."""
    lines = (getattr(error, "stderr", None) or "").strip().splitlines()
    if lines:
        return str(lines[-1])
    code = getattr(error, "returncode", None)
    return str(error) if code is None else f"it ended with {code}"


def _also(chosen: Mapping[str, Scenario]) -> list[str]:
    """The servers that some scenarios measure beside the default ones."""
    return list(dict.fromkeys(chain.from_iterable(one.also for one in chosen.values())))


def _certified(directory: Path) -> None:
    """:raises Stop: there can be no certificate."""
    try:
        certificates.make(directory)
    except certificates.NoCertificate as error:
        raise Stop(str(error)) from None


def _kind(scenario: Scenario, templates: Mapping[str, servers.Template]) -> record.Kind:
    given = dict(scenario.options)
    left_out = {}
    if scenario.tls:
        there = {name: one for name, one in templates.items() if one.suits(scenario)}
        given = {name: one.options(scenario) for name, one in there.items()}
        left_out = {name: one.no_tls for name, one in templates.items() if one.no_tls}
    return record.Kind(scenario.about, scenario.unit, scenario.more_is_better, given, left_out)


def _origin(python: str, directory: Path) -> str:
    """Where servers that are started in a directory get wsgi_async from, asked of their Python."""
    code = "import os, wsgi_async; print(os.path.realpath(wsgi_async.__file__))"
    asked = subprocess.run([python, "-c", code], cwd=directory, capture_output=True, text=True)
    return asked.stdout.strip() or asked.stderr.strip().splitlines()[-1]


def measured(options: argparse.Namespace, old: Path | None = None) -> tuple[Run, bool]:
    """Run, and print what was measured, also after a Ctrl-C. It is written after each figure, so
    that whatever ends a run of hours leaves what there was."""
    into: list[Run] = []

    beside = record.read(options.into) if options.into else None

    def keep(found: Run) -> None:
        path = options.into or options.json
        if not path:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            record.write(found if beside is None else record.merged(beside, found), path)
        except OSError as error:
            raise Stop(f"{path}: {error.strerror}") from None

    if shutil.which("wrk") is None:
        raise Stop("wrk is not installed (Debian: apt-get install wrk)")
    with _terminable():
        finished = run(options, old, into, keep)
    found = into[0]
    for name in found.scenarios:
        if text := report.scenario_table(found, name):
            print(f"## {name}\n\n{text}\n")
    return found, finished


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does, and Ctrl-C does in the background too. A SIGHUP
    that is ignored, as by ``nohup``, stays ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def guard(options: argparse.Namespace) -> int:
    """``--compare``: the exit status."""
    first, *second = options.compare
    if first.is_dir():
        if second:
            raise Stop("--compare takes one directory, or JSON files")
        if not (first / "wsgi_async" / "__init__.py").is_file():
            raise Stop(f"{first} is no checkout: it has no wsgi_async")
        ours = [name for name in options.servers or [servers.OURS] if servers.is_ours(name)]
        _ask_for(options, compare.fewest_rounds(len(ours) * len(scenarios(options.scenarios))))
        new, finished = measured(options, old=first)
        verdicts = compare.by_turns(new)
        names = {"new": str(CHECKOUT), "old": str(first.resolve())}
    else:
        old = record.read(first)
        finished = True
        if second:
            new = record.read(second[0])
            fewest = compare.fewest_rounds_each(max(1, len(compare.shared_lines(new, old))))
            for path, one in ((first, old), (second[0], new)):
                _enough(path, one, fewest)
        else:
            known = servers.load()
            options.servers = options.servers or [name for name in old.servers if name in known]
            options.scenarios = options.scenarios or list(old.scenarios)
            asked = [
                line
                for line in compare.shared_lines(old, old)
                if line[0] in options.scenarios and line[1] in options.servers
            ]
            fewest = compare.fewest_rounds_each(max(1, len(asked)))
            _enough(first, old, fewest)
            options.rounds = options.rounds or old.rounds
            _ask_for(options, fewest)
            options.threads, options.seconds = old.threads, old.seconds
            new, finished = measured(options)
        verdicts, warning = compare.with_earlier(new, old)
        if warning:
            say(f"warning: {warning}")
        names = {"new": _when(new), "old": f"{first}, {_when(old)}"}
    print(compare.table(verdicts, names))
    if not finished:
        return INTERRUPTED
    if not any(one.judged for one in verdicts):
        raise Stop("nothing was judged")
    return 1 if any(one.bad for one in verdicts) else 0


def _ask_for(options: argparse.Namespace, fewest: int) -> None:
    """:raises Stop: fewer rounds are asked for than can show anything."""
    if options.rounds is not None and options.rounds < fewest:
        raise Stop(f"this comparison needs at least --rounds {fewest}")


def _enough(path: Path, one: Run, fewest: int) -> None:
    """:raises Stop: a run has too few rounds to be judged."""
    if one.rounds < fewest:
        rounds_text = "1 round" if one.rounds == 1 else f"{one.rounds} rounds"
        raise Stop(f"{path}: only {rounds_text}; at least {fewest} are needed")


def _when(one: Run) -> str:
    return f"{one.environment['date']}, commit {one.environment['commit'] or 'unknown'}"


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    try:
        if options.list:
            show_list()
            return 0
        if options.render:
            for path in publish.publish(options.render):
                print(path)
            return 0
        if options.compare:
            return guard(options)
        return 0 if measured(options)[1] else INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Stop, record.BadRecord, compare.Incomparable) as error:
        say(str(error).strip())
        return 2


if __name__ == "__main__":
    sys.exit(main())
