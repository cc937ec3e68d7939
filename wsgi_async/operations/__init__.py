"""What operators and their machines look at, and steer by: metrics, the control
socket, and the dashboard.

``counting`` is the subscriber by which a serving process fills its area of the scoreboard, and
``exposition`` the scoreboard as Prometheus reads it, which ``application`` serves. ``statsd`` is
the subscriber that sends to statsd, in the lines that ``statsd_lines`` makes. The other modules are
about the application's own metrics: ``app_metrics`` is what others call, ``app_values`` what the
metrics of prometheus_client are made of, ``app_arena`` the memory, ``app_records`` what is in it,
``app_totals`` what that comes to, and ``app_families`` what each process says of them. Nothing of
all this is imported where nobody asks for it.

``history`` is an hour of the scoreboard, second by second, and ``journal`` the last errors of all
processes, told by the subscribers of ``journaling``; both are in memory, as the scoreboard is.
``dashboard`` serves them, with the files of ``page_files`` (in ``page/``) and answers that are
``kept`` for all who ask for the same; ``admission`` decides who may see it, and ``viewers`` are
those who watch it.

By ``exchange`` processes that serve answer questions about themselves, as ``answers`` has it, which
``asking`` puts to all of them; ``questions`` are those of the pages, with who has not answered, and
``log_level`` is what one of them changes for processes to come. ``sampling`` is the answer to
``profiles``, which has them sampled; ``sampled_stacks`` are what is seen, and ``flame`` what is
made of it.

``state`` is how the server is, of shared memory alone, ``control`` what is served on the control
socket, and ``json_pages`` how pages for programs are asked and answer.

Runs on: the loop thread counts; whatever thread asks exposes; any thread of the application counts
for it; the application loop is where who watches waits; statsd's name is looked up by a thread of
its own.

May import: config, errors, events, logs, realtime, scoreboard, server, system, wsgi.
"""
