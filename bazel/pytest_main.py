"""Runs pytest on the files that the command line names, as Bazel's tests are run: see bazel/pytest.bzl."""

from __future__ import annotations

import os
import sys

import hypothesis
import pytest


class Shard:
    """Keeps every n-th test, for a target with `shard_count = n`."""

    def __init__(self, index: int, total: int) -> None:
        self._index = index
        self._total = total

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = items[self._index :: self._total]


def main() -> int:
    arguments = ["--import-mode=importlib", "-ra", "-p", "no:cacheprovider"]
    plugins = []

    # Plugins that happen to be installed on the machine are none of a test's business.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments += ["-p", "_hypothesis_pytestplugin"]

    # The same examples on every run, and nothing kept: a test's result may depend on its inputs only.
    hypothesis.settings.register_profile("bazel", database=None, deadline=None, derandomize=True)
    hypothesis.settings.load_profile("bazel")

    if report := os.environ.get("XML_OUTPUT_FILE"):
        arguments.append(f"--junitxml={report}")
    if expression := os.environ.get("TESTBRIDGE_TEST_ONLY"):
        arguments += ["-k", expression]
    if scratch := os.environ.get("TEST_TMPDIR"):
        os.environ["HOME"] = scratch  # the user's caches and settings are none either
        arguments.append(f"--basetemp={scratch}/pytest")
    if total := os.environ.get("TEST_TOTAL_SHARDS"):
        open(os.environ["TEST_SHARD_STATUS_FILE"], "w").close()  # tells Bazel that this runner knows of shards
        plugins.append(Shard(int(os.environ["TEST_SHARD_INDEX"]), int(total)))

    return pytest.main(arguments + sys.argv[1:], plugins)


if __name__ == "__main__":
    sys.exit(main())
