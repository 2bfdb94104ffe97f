"""A module that test_python_values.py imports inside a function."""

SCALE = 2.0
