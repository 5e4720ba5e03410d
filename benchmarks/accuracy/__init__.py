"""The study's table, every row trained by one command: ``python -m benchmarks.accuracy``."""
