"""Programs that measure Needle beside its peers: see docs/benchmarks.md."""
