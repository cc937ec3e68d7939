"""The benchmark harness: real servers, real load, side by side (``python -m benchmarks``)."""
