"""Speed and memory of the template against what a reader would otherwise write; `python -m benchmarks`."""
