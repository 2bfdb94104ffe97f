"""py_package: the files of some Python packages, out of all that a target needs."""

def path_inside_wheel(file):
    """Returns the path of a file relative to the root of its repository, which is its path in a wheel."""
    path = file.short_path
    return path.split("/", 2)[2] if path.startswith("../") else path

def _py_package_impl(ctx):
    folders = [package.replace(".", "/") + "/" for package in ctx.attr.packages]
    files = depset(transitive = [dep[DefaultInfo].default_runfiles.files for dep in ctx.attr.deps])
    return [DefaultInfo(files = depset([
        file
        for file in files.to_list()
        if any([path_inside_wheel(file).startswith(folder) for folder in folders])
    ]))]

py_package = rule(
    implementation = _py_package_impl,
    doc = "Selects, from everything that `deps` need, the files that belong to `packages`. For the deps of py_wheel.",
    attrs = {
        "deps": attr.label_list(
            doc = "py_library and py_binary targets.",
        ),
        "packages": attr.string_list(
            mandatory = True,
            doc = "Python packages to include; their sub-packages are, too.",
        ),
    },
)
