bind = "127.0.0.1:0"
workers = 2
worker_class = "sync"
worker_connections = 1000
max_requests = 1000
max_requests_jitter = 100
timeout = 30
keepalive = 2
preload_app = True


def when_ready(server):
    print("the hook when_ready", flush=True)


def post_fork(server, worker):
    print("the hook post_fork", flush=True)
