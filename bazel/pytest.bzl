"""pytest under Bazel: each test file is a target."""

load("@pip//:requirements.bzl", "requirement")
load("@rules_python//python:defs.bzl", "py_test")

def pytest_test(name, srcs, args = [], deps = [], **kwargs):
    """Runs pytest on test files.

    `bazel test --test_filter=EXPRESSION` is pytest's -k, and `--test_arg` passes any other option.

    Args:
      name: target name.
      srcs: the files with tests. Helpers and conftest.py are py_library targets in `deps`.
      args: options for pytest.
      deps: the libraries that the tests import; pytest and hypothesis are added.
      **kwargs: passed on to py_test: size, tags, data, shard_count and so on.
    """
    py_test(
        name = name,
        srcs = srcs + ["//bazel:pytest_main.py"],
        args = ["$(location %s)" % src for src in srcs] + args,
        main = "//bazel:pytest_main.py",
        deps = deps + [
            requirement("hypothesis"),
            requirement("pytest"),
        ],
        **kwargs
    )

def small_pytest_tests(names):
    """A small pytest_test of NAME.py for each name: tests of needle that need nothing else."""
    for name in names:
        pytest_test(
            name = name,
            size = "small",
            srcs = [name + ".py"],
            deps = [
                "//needle",
                "//tests:conftest",
            ],
        )

def emulated_pytest_test(test, deps = [], **kwargs):
    """TEST.py once more as TEST_cuda_emulated, on the emulated GPU: arrays there are not the host's.

    Args:
      test: the name of the file.
      deps: as pytest_test's; needle and what every test needs are added.
      **kwargs: passed on to pytest_test.
    """
    pytest_test(
        name = test + "_cuda_emulated",
        srcs = [test + ".py"],
        env = {"NEEDLE_TEST_CUDA": "emulated"},
        tags = ["cuda_emulated"],
        deps = deps + [
            "//needle",
            "//tests:conftest",
            "//tests:emulated_cuda",
        ],
        **kwargs
    )
