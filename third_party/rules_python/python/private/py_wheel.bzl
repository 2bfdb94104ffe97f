"""py_wheel: an installable wheel of a project's own files."""

load(":py_package.bzl", "path_inside_wheel")

def _py_wheel_impl(ctx):
    attr = ctx.attr
    wheel = ctx.actions.declare_file("-".join([
        attr.distribution.replace("-", "_"),
        attr.version,
        attr.python_tag,
        attr.abi,
        attr.platform,
    ]) + ".whl")

    metadata = ctx.actions.declare_file(attr.name + ".metadata.txt")
    lines = ["Metadata-Version: 2.1", "Name: " + attr.distribution, "Version: " + attr.version]
    lines += ["Author: " + attr.author] if attr.author else []
    lines += ["License: " + attr.license] if attr.license else []
    lines += ["Classifier: " + classifier for classifier in attr.classifiers]
    lines += ["Requires-Python: " + attr.python_requires] if attr.python_requires else []
    lines += ["Requires-Dist: " + requirement for requirement in attr.requires]
    ctx.actions.write(metadata, "\n".join(lines) + "\n")

    members = {path_inside_wheel(file): file for file in ctx.files.deps}
    distinfo = {name: target.files.to_list()[0] for target, name in attr.extra_distinfo_files.items()}
    inputs = members.values() + distinfo.values() + [metadata]

    arguments = ctx.actions.args()
    arguments.use_param_file("@%s")
    arguments.set_param_file_format("multiline")
    arguments.add(wheel, format = "--out=%s")
    arguments.add(metadata, format = "--metadata=%s")
    if ctx.file.description_file:
        inputs.append(ctx.file.description_file)
        arguments.add(ctx.file.description_file, format = "--description=%s")
    arguments.add_all(["%s=%s" % (path, file.path) for path, file in members.items()], format_each = "--member=%s")
    arguments.add_all(["%s=%s" % (path, file.path) for path, file in distinfo.items()], format_each = "--distinfo=%s")

    for group, entries in attr.entry_points.items():
        arguments.add_all(entries, format_each = "--entry_point=%s:%%s" % group)

    ctx.actions.run(
        outputs = [wheel],
        inputs = inputs,
        executable = ctx.executable._wheelmaker,
        arguments = [arguments],
        mnemonic = "PyWheel",
        progress_message = "Building wheel %s" % wheel.short_path,
    )
    return [DefaultInfo(files = depset([wheel]), runfiles = ctx.runfiles([wheel]))]

py_wheel = rule(
    implementation = _py_wheel_impl,
    doc = "Builds DISTRIBUTION-VERSION-PYTHON_TAG-ABI-PLATFORM.whl. The same inputs give the same bytes.",
    attrs = {
        "abi": attr.string(
            default = "none",
            doc = "ABI tag; none for pure Python.",
        ),
        "author": attr.string(
            doc = "Name of the author.",
        ),
        "classifiers": attr.string_list(
            doc = "Trove classifiers.",
        ),
        "deps": attr.label_list(
            doc = "Files and py_package targets to package.",
        ),
        "description_file": attr.label(
            allow_single_file = True,
            doc = "Markdown text for the long description.",
        ),
        "distribution": attr.string(
            mandatory = True,
            doc = "Name of the distribution, as one would pip install it.",
        ),
        "entry_points": attr.string_list_dict(
            doc = "From a group such as console_scripts to entries such as `name = package.module:function`.",
        ),
        "extra_distinfo_files": attr.label_keyed_string_dict(
            allow_files = True,
            doc = "From a file to its name in the .dist-info folder.",
        ),
        "license": attr.string(
            doc = "SPDX identifier.",
        ),
        "platform": attr.string(
            default = "any",
            doc = "Platform tag.",
        ),
        "python_requires": attr.string(
            doc = "Python versions that it runs on, such as >=3.10.",
        ),
        "python_tag": attr.string(
            default = "py3",
            doc = "Python tag.",
        ),
        "requires": attr.string_list(
            doc = "Requirements, such as numpy>=2.",
        ),
        "version": attr.string(
            mandatory = True,
            doc = "Version of the distribution.",
        ),
        "_wheelmaker": attr.label(
            cfg = "exec",
            default = "//tools:wheelmaker",
            executable = True,
        ),
    },
)
