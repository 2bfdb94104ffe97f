"""Locked wheels as repositories, under rules_python's names."""

load("//python/private:pip_repository.bzl", _package_annotation = "package_annotation", _pip_parse = "pip_parse")

package_annotation = _package_annotation
pip_parse = _pip_parse
