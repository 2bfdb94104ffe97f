"""whl_library: one locked wheel, downloaded by the machine's own pip and unpacked, as a repository."""

_BUILD = """\
load("@rules_python//python:defs.bzl", "py_library")

package(default_visibility = ["//visibility:public"])

# One folder and not its files: a sandbox then holds a link for each wheel, where it would hold thousands.
py_library(
    name = "pkg",
    data = ["site-packages"],
    imports = ["site-packages"],
    deps = {deps},
)

filegroup(
    name = "data",
    srcs = glob(["data/**"], allow_empty = True),
)
"""

# What pip or unpack_wheel.py prints, from the most telling on, and what it means to a user.
_CAUSES = [
    ("No module named pip", "python3 has no pip (on Debian: apt-get install python3-pip)"),
    ("DO NOT MATCH THE HASHES", "the downloaded file does not have the locked hash"),
    ("No space left on device", "the disk is full (another one can be named with --output_user_root, and in $TMPDIR)"),
    ("Retrying (", "no package index can be reached (check network, proxy and `python3 -m pip config list`)"),
    ("No matching distribution", "no index offers it for this Python and machine (check `python3 -m pip config list`)"),
]

def _cause(result):
    output = result.stdout + result.stderr
    for text, cause in _CAUSES:
        if text in output:
            return cause
    lines = output.strip().splitlines()
    return lines[-1] if lines else "nothing was printed"

def _whl_library_impl(rctx):
    python = rctx.path(rctx.attr.python_interpreter_target)
    unpack = rctx.path(Label("//python/private:unpack_wheel.py"))
    rctx.file("requirement.txt", rctx.attr.requirement)

    # -E: a PYTHONPATH or PYTHONHOME of the user's is not for pip.
    pip_download = [python, "-E", "-m", "pip"] + (["--isolated"] if rctx.attr.isolated else []) + [
        "--disable-pip-version-check",
        "--no-input",
        "download",
        "--dest=wheel",
        "--no-deps",
        "--only-binary=:all:",
        "--progress-bar=off",
        "--require-hashes",
        "--requirement=requirement.txt",
    ]

    # A folder of wheels, as container images have it, needs no index. What it lacks is downloaded as usual.
    wheels = rctx.os.environ.get("NEEDLE_WHEELS")
    if wheels and not wheels.startswith("/"):
        fail("NEEDLE_WHEELS is '%s', expected an absolute path" % wheels)
    download = rctx.execute(pip_download + ["--no-index", "--find-links=" + wheels]) if wheels else None
    if not download or download.return_code:
        download = rctx.execute(pip_download, timeout = 1200)

    package = rctx.attr.requirement.partition(" ")[0]
    if download.return_code:
        rctx.delete("wheel")
        fail("cannot fetch %s: %s" % (package, _cause(download)))

    unpacked = rctx.execute([python, "-E", unpack, "wheel"])
    rctx.delete("wheel")
    if unpacked.return_code:
        for folder in ["bin", "data", "include", "site-packages"]:
            rctx.delete(folder)
        fail("cannot unpack %s: %s" % (package, _cause(unpacked)))

    deps = ["@%s%s//:pkg" % (rctx.attr.repo_prefix, name) for name in json.decode(unpacked.stdout)]
    rctx.file("BUILD.bazel", _BUILD.format(deps = repr(deps)) + rctx.attr.additive_build_content)

whl_library = repository_rule(
    implementation = _whl_library_impl,
    doc = "Makes of one wheel `:pkg`, a py_library, and `:data`, the files that it puts outside of site-packages.",
    attrs = {
        "additive_build_content": attr.string(
            doc = "Text to add to the BUILD file.",
        ),
        "isolated": attr.bool(
            doc = "Whether pip ignores the user's configuration and PIP_ variables.",
        ),
        "python_interpreter_target": attr.label(
            mandatory = True,
            doc = "The interpreter that runs pip, and that the wheel is for.",
        ),
        "repo_prefix": attr.string(
            mandatory = True,
            doc = "What the repositories of other wheels begin with.",
        ),
        "requirement": attr.string(
            mandatory = True,
            doc = "Name, version and hashes, as in a lock file.",
        ),
    },
)
