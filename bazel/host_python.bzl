"""The machine's Python as a toolchain, for every py_binary and py_test."""

_OLDEST = [3, 10]

# Asks for the base interpreter of a virtual environment, so that packages installed there cannot leak into a build.
_PROBE = """
import json, sys
print(json.dumps({
    "interpreter": getattr(sys, "_base_executable", sys.executable),
    "version": list(sys.version_info[:2]),
}))
"""

# Bazel's start-up scripts begin with `/usr/bin/env python` unless told otherwise; a machine may have only `python3`.
_BUILD = """\
load("@rules_python//python:defs.bzl", "py_runtime", "py_runtime_pair")

exports_files(["python3"])

py_runtime(
    name = "runtime",
    interpreter_path = "{interpreter}",
    python_version = "PY3",
    stub_shebang = "#!{interpreter}",
)

py_runtime_pair(
    name = "runtime_pair",
    py3_runtime = ":runtime",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtime_pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

_DEFS = """\
# The tag of wheels with extension modules for this Python.
PYTHON_TAG = "cp{major}{minor}"
"""

def _host_python_impl(rctx):
    wanted = ".".join([str(part) for part in _OLDEST])
    python3 = rctx.os.environ.get("PYTHON_BIN_PATH") or rctx.which("python3")
    if not python3:
        fail("Python %s or newer is needed and there is no python3 (on Debian: apt-get install python3)" % wanted)
    result = rctx.execute([python3, "-E", "-c", _PROBE])
    if result.return_code:
        fail("%s does not run: %s" % (python3, result.stderr.strip()))
    found = json.decode(result.stdout)
    major, minor = found["version"]
    if [major, minor] < _OLDEST:
        fail("Python %s or newer is needed and %s is %d.%d; set PYTHON_BIN_PATH to a newer one" %
             (wanted, python3, major, minor))
    rctx.symlink(found["interpreter"], "python3")
    rctx.file("BUILD.bazel", _BUILD.format(interpreter = found["interpreter"]))
    rctx.file("defs.bzl", _DEFS.format(major = major, minor = minor))

host_python = repository_rule(
    implementation = _host_python_impl,
    doc = """Finds python3, or what $PYTHON_BIN_PATH names, and makes of it:

    :toolchain        for register_toolchains
    :python3          for the python_interpreter_target of other repository rules
    defs.bzl          PYTHON_TAG, such as "cp311"
""",
    environ = ["PATH", "PYTHON_BIN_PATH"],
    local = True,
)
