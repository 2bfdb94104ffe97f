"""Whole functions as programs: recorded, simplified, and replayed in one call. docs/compiler.md tells how it works."""

from needle import config
from needle.compiler.function import JitFunction, describe_functions, jit

config.more_details.append(describe_functions)

__all__ = ["JitFunction", "jit"]
