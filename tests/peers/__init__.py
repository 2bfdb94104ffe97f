"""Needle beside PyTorch: the same calls, values and gradients. docs/testing.md, "PyTorch as a peer"."""
