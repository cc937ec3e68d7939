"""The benchmark harness: real servers, real load, side by side (``python -m benchmarks``).

``apps``       the applications that are measured, the same for every server
``scenarios``  kinds of work: what is asked of a server, and what is counted
``clients``    the load that ``wrk`` cannot make, each client a process of its own
``harness``    servers, their processes, the rounds, the record of a run (``servers.toml``)
``reporting``  figures, targets, tables, plots, comparisons (``targets.toml``)
``micro``      parts of wsgi_async in memory, without a load (``python -m benchmarks.micro``)
``peers``      installs all servers (``python -m benchmarks.peers DIR``)
``results``    the runs that are committed
"""
