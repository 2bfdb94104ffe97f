"""Rules for pybind11 modules: the part of upstream pybind11_bazel that this project uses, for Linux."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library")

_COPTS = ["-fexceptions"]

_DEPS = [
    "@local_config_python//:python_headers",
    "@pybind11",
]

def pybind_extension(name, copts = [], linkopts = [], deps = [], **kwargs):
    """Builds the Python extension module `name`.so, to be named in the `data` of a py_library.

    Args:
      name: module name without `.so`; the same as in PYBIND11_MODULE.
      copts: further compiler flags.
      linkopts: further linker flags.
      deps: cc_library and pybind_library targets.
      **kwargs: passed on to cc_binary.
    """
    cc_binary(
        name = name + ".so",
        # pybind11 requires hidden visibility: two modules may hold different versions of it.
        copts = copts + _COPTS + ["-fvisibility=hidden"],
        linkopts = linkopts + ["-Wl,-Bsymbolic"],
        linkshared = True,
        deps = deps + _DEPS,
        **kwargs
    )

def pybind_library(name, copts = [], deps = [], **kwargs):
    """Builds a C++ library that uses pybind11, for the deps of a pybind_extension.

    Args:
      name: target name.
      copts: further compiler flags.
      deps: cc_library and pybind_library targets.
      **kwargs: passed on to cc_library.
    """
    cc_library(
        name = name,
        copts = copts + _COPTS,
        deps = deps + _DEPS,
        **kwargs
    )
