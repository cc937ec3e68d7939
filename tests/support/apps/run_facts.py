"""Answers with what the server has set up in its process."""

import gc
import json
import resource
import signal
import sys
import threading


def application(environ, start_response):
    facts = {
        "frozen": gc.get_freeze_count(),
        "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE),
        "switch_interval": sys.getswitchinterval(),
        "handled": [
            number.name
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
            if signal.getsignal(number)
            not in (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)
        ],
        "thread": threading.current_thread().name,
        "click": "click" in sys.modules,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]
