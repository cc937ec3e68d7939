"""An application with every kind of metric of prometheus_client, and one more that is made late."""

import os
import threading

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.core import GaugeMetricFamily

ORDERS = Counter("shop_orders", "Orders.", ["kind"])
ERRORS = Counter("shop_errors", "Errors: none.")
SIZE = Summary("shop_size_bytes", "Sizes.", ["kind"])
TOOK = Histogram("shop_took_seconds", "Times.", ["kind"], buckets=(0.1, 1, 10))
MODES = sorted(Gauge._MULTIPROC_MODES)
GAUGES = {mode: Gauge(f"shop_{mode}", f"By {mode}.", multiprocess_mode=mode) for mode in MODES}
BUILD = Info("shop_build", "Which one.")
BUILD.info({"version": os.environ.get("SHOP_VERSION", "1")})
PROCESS = Info("shop_process", "Who has loaded it.")
PROCESS.info({"id": str(os.getpid())})
LOADED = Counter("shop_loaded", "Loads of the application.")
LOADED.inc()
for gauge in GAUGES.values():
    gauge.set(3)


class Stock:
    """A collector of the application's own."""

    def collect(self):
        family = GaugeMetricFamily("shop_stock", "In stock.", labels=["process"])
        family.add_metric([str(os.getpid())], 12)
        yield family


REGISTRY.register(Stock())
LATE = {}
MAKING = threading.Lock()


def order(kind, amount):
    ORDERS.labels(kind).inc()
    SIZE.labels(kind).observe(amount)
    TOOK.labels(kind).observe(amount)


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/order":
        order(query, 0.5)
    elif path == "/late":
        with MAKING:  # else two threads make the same, and the library refuses one of them
            if query not in LATE:
                LATE[query] = Counter(f"shop_late_{query}", "Made in a request.")
        LATE[query].inc()
    elif path == "/fork":
        pid = os.fork()
        if not pid:
            order("forked", 0.5)
            os._exit(0)
        os.waitpid(pid, 0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} x\n".encode()]
