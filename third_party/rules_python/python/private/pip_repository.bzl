"""pip_parse: reads a lock file and makes one whl_library repository for each package in it."""

_REQUIREMENTS_BZL = """\
load("@rules_python//python/private:whl_library.bzl", "whl_library")

_PACKAGES = {packages}

_ANNOTATIONS = {annotations}

_CONFIG = {config}

def requirement(name):
    return "@{repo}_%s//:pkg" % name.lower().replace("-", "_").replace(".", "_")

def install_deps():
    for name, requirement in _PACKAGES.items():
        whl_library(
            name = "{repo}_" + name,
            additive_build_content = _ANNOTATIONS.get(name, ""),
            repo_prefix = "{repo}_",
            requirement = requirement,
            **_CONFIG
        )
"""

def _repository_name(package):
    return package.lower().replace("-", "_").replace(".", "_")

def _parse_lock(content):
    """Reads a lock file as `pip-compile --generate-hashes` or `uv pip compile` writes it.

    Args:
      content: text of the file.

    Returns:
      a dict from repository name to the requirement: name, version and hashes, on one line.
    """
    requirements = {}
    for line in content.replace("\\\n", "").splitlines():
        line = line.partition("#")[0].strip()
        if line:
            requirements[_repository_name(line.partition("==")[0])] = line
    return requirements

def _pip_parse_impl(rctx):
    rctx.file("BUILD.bazel")
    rctx.file("requirements.bzl", _REQUIREMENTS_BZL.format(
        annotations = repr({
            _repository_name(name): json.decode(annotation)["additive_build_content"]
            for name, annotation in rctx.attr.annotations.items()
        }),
        config = repr({
            "isolated": rctx.attr.isolated,
            "python_interpreter_target": str(rctx.attr.python_interpreter_target),
        }),
        packages = repr(_parse_lock(rctx.read(rctx.attr.requirements_lock))),
        repo = rctx.name,
    ))

pip_parse = repository_rule(
    implementation = _pip_parse_impl,
    doc = """Makes `requirements.bzl`, with

    install_deps()       for WORKSPACE: declares a repository `NAME_PACKAGE` for each package
    requirement(PACKAGE) for BUILD files: the label of that package's py_library
""",
    attrs = {
        "annotations": attr.string_dict(
            doc = "From a package's name to what package_annotation returned for it.",
        ),
        "isolated": attr.bool(
            default = True,
            doc = "Whether pip ignores the user's configuration and PIP_ variables.",
        ),
        "python_interpreter_target": attr.label(
            mandatory = True,
            doc = "The interpreter that runs pip, and that the wheels are for.",
        ),
        "requirements_lock": attr.label(
            mandatory = True,
            allow_single_file = True,
            doc = "Lock file: every package pinned, with hashes.",
        ),
    },
)

def package_annotation(additive_build_content):
    """Adds to what is made of a wheel.

    Args:
      additive_build_content: text to add to the BUILD file of the wheel's repository.

    Returns:
      a value for the `annotations` of pip_parse.
    """
    return json.encode({"additive_build_content": additive_build_content})
