"""The sentences of the report that do not depend on the figures."""

from __future__ import annotations

__all__ = ["GUARD", "H11", "HOW", "INTRODUCTION", "LIMITED", "NO_RUN", "REPEAT", "TARGETS"]

INTRODUCTION = """\
wsgi_async beside other WSGI servers, each as one process, or as two where that is measured, with
the same number of threads in each (those that have none, and so do one thing at a time, say "one
thread"), started with what its own documentation recommends for that
([`servers.toml`](harness/servers.toml) says why). This file is written by `python -m benchmarks
--render` from the JSON files in [`results`](results), which hold every sample."""

NO_RUN = "No run is recorded yet."

TARGETS = """\
A ratio is how many times as good wsgi_async is as the other server, by medians: above 1 it is
better, also where the figure is one of which less is better; after "at most" it is wsgi_async's
figure divided by the other's. The best peer is the best of all measured servers that are not
wsgi_async; the best threaded peer is the best of those that do not run the application on one
thread. Under "met?", `yes` is what was asked, `reached` also what was to be reached for; a
scenario of which rounds are void is a `no`."""

H11 = """\
The same with `--parser h11`, where that was measured:"""

LIMITED = """\
† limited by the client, which used more than 90 % of its core: the server could do more."""

REPEAT = """\
```console
$ python3 -m benchmarks.peers --python python3.11 build/peers-3.11
$ build/peers-3.11/bin/python -m benchmarks --seconds 1.2 --json benchmarks/results/3.11.json
$ build/peers-3.11/bin/python -m benchmarks --render
```"""

HOW = """\
`benchmarks.peers` makes an environment for one Python, and the others go the same way, with all
servers (one that does not build is named and left out) and this checkout of wsgi_async; it needs
`wrk`, and for some servers a C compiler and libev's headers (Debian: `apt-get install wrk
build-essential libev-dev`). `--json` measures, and writes after each figure; `--servers`,
`--scenarios`, `--rounds` and `--seconds` make it smaller, `--list` shows what there is, and a
server that is not installed is skipped by name. It runs on Linux; elsewhere without pinning and
memory. A file of 64 MiB stays in the directory for temporary files for the next run
(`wsgi-async-benchmark-` and the user's number). `--render` writes this file and its plots.

How it measures: for each scenario and round, each server is started on a free port of 127.0.0.1,
on the first core, while the load runs on the others; two processes and their load may use all, and
are measured once both answer. Its answers are checked in each round, before the load and, as far as
the load's client can tell, during it: a wrong one voids all its figures of that scenario. After the
load it is ended. The servers take turns round by round, so that what changes on the machine changes
for all, and every other round goes backwards. The tables give the median of the rounds and the
lowest and highest one; the latencies are medians of each round's; memory is what all processes of
the server occupy after the load (Pss). The last column says how many times as good wsgi_async is.
Single figures depend on the machine and on what else runs there: read the ratios.

Over TLS all servers have the same certificate, of EC P-256 and signed by itself, and all of them
choose TLS_AES_256_GCM_SHA384 with X25519; who has no TLS is left out by name. wrk goes on with the
session of a closed connection, so full handshakes are made by a client of the harness's own, which
refuses to count others; where it, and not the server, is what is busy, a † says so.

Beside slow or idle clients, the rate with them is divided by the better one of the rates before and
after them. Beside slow readers it is taken twice: "onset" begins at the moment at which all of them
have asked, and holds what the server does with the responses that nobody reads, as writing them to
files; the other one begins when the server answers promptly again, or after 4 s more (how long that
was, from the onset, is in the column "settled", in seconds).

Event streams are asked for until all are there, or none begins for 1.5 s. To a server that is full
some connections are given back, so that the ordinary requests beside them find a place, if there
is one. An event carries its number and the moment at which it was due, by the clock that server and
client share: its delay is what passes from then until the client has read it, "delivered" is the
part of the events of all the streams that were asked for, and what the server takes for an event is
the time of all its processes by those that came. "bytes each" is by Pss, as everywhere: what the
kernel keeps for a socket is not in it. Each server has the form of the application
([`live.py`](live.py)) that its documentation gives: wsgi_async synchronous Flask views with async
bodies; gunicorn the same views with generators that wait, on its threads or, with gevent, on
greenlets; uvicorn an application written anew for Starlette; m0serve Flask views that name a
channel in their response fields, and a thread that publishes to every channel.

Three rounds of 1.2 s take about an hour for all scenarios and servers. A process of a server may
have 8 GiB of memory: one that collects 64 responses of 256 MiB would take twice that.

What single parts of wsgi_async cost, in memory and without a load: `python -m benchmarks.micro`."""

GUARD = """\
## Guard against getting slower

```console
$ python -m benchmarks --compare ../other-checkout --scenarios hello varied
$ python -m benchmarks --compare ../other-checkout --scenarios close --options=--access-logfile=-
$ python -m benchmarks --compare old.json
$ python -m benchmarks --compare old.json new.json
```

With a directory, the wsgi_async of that checkout and of this one are measured by turns, with this
checkout's harness; a round's two figures make one ratio, and which of the two goes first is drawn
by lot. A scenario is *slower* if the ratio is below 0.97 and its interval does not reach 1,
*faster* the same the other way round; everything else is *no difference shown*, and the interval
says how large a difference may have been missed. Of equal checkouts one table in a hundred says
"slower" or "faster" somewhere, at most, whatever the noise: the interval is that of the signed
ranks, which asks of it nothing that the lot does not give, and it is as wide as the number of
lines in the table demands. One line takes at least 10 rounds, twenty 14; where that does not
decide it, the rounds go on to 1.5 and to twice as many. It is *void* if more rounds of the new one
are void than of the old one, or requests fail in more of them.

With a JSON file, what was measured then is compared with a run now, or with a second file. Those
rounds are no pairs, and the machine may have changed between them: each peer that both runs have
measured in the same version has an interval for what it has changed by (by the rank sum), and a
scenario is slower if ours lies below all of them. Ratios and sizes are compared as they are: there
a peer's change is its own. Both runs need 6 rounds for one line, 8 for twenty. Runs of different
Python versions, threads or seconds are not compared; speeds without a common peer are not judged.

The exit status is 1 if a scenario is slower or void, 2 if the two cannot be compared or nothing
could be judged."""
