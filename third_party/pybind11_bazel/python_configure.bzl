"""The headers of the machine's Python as a cc_library: the part of upstream pybind11_bazel that this project uses."""

_BUILD = """\
cc_library(
    name = "python_headers",
    hdrs = glob(["python_include/**/*.h"]),
    includes = ["python_include"],
    visibility = ["//visibility:public"],
)
"""

def _python_configure_impl(rctx):
    python = rctx.path(rctx.attr.python_interpreter_target)
    result = rctx.execute([python, "-E", "-c", "import sysconfig; print(sysconfig.get_path('include'))"])
    if result.return_code:
        fail("%s cannot say where its headers are: %s" % (python, result.stderr.strip()))
    include = rctx.path(result.stdout.strip())
    if not include.get_child("Python.h").exists:
        fail("no Python.h in %s: install Python's headers (on Debian: apt-get install python3-dev)" % include)
    rctx.symlink(include, "python_include")
    rctx.file("BUILD.bazel", _BUILD)

python_configure = repository_rule(
    implementation = _python_configure_impl,
    doc = "Makes `python_headers`, the headers to compile an extension module against.",
    attrs = {
        "python_interpreter_target": attr.label(
            mandatory = True,
            doc = "The interpreter whose headers are wanted.",
        ),
    },
)
