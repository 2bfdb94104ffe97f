"""Rules that build wheels, under rules_python's names."""

load("//python/private:py_package.bzl", _py_package = "py_package")
load("//python/private:py_wheel.bzl", _py_wheel = "py_wheel")

py_package = _py_package
py_wheel = _py_wheel
