"""cuda_library: CUDA sources compiled by nvcc into what cc_library is to C++."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "CPP_COMPILE_ACTION_NAME")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")
load(":archs.bzl", "CudaArchsInfo", "gencode_flags")

_SOURCES = [".cu", ".cc", ".cpp"]
_HEADERS = [".cuh", ".h", ".hpp", ".hh", ".inc", ".inl"]

def _host_flags(ctx, cc_toolchain, features):
    """The flags that a cc_library would be compiled with: of --compilation_mode, --copt, --cxxopt and the toolchain."""
    return cc_common.get_memory_inefficient_command_line(
        action_name = CPP_COMPILE_ACTION_NAME,
        feature_configuration = features,
        variables = cc_common.create_compile_variables(
            cc_toolchain = cc_toolchain,
            feature_configuration = features,
            use_pic = True,
            user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + ctx.attr.host_copts,
        ),
    )

def _nvcc_flags(host_flags):
    """Hands flags of the host compiler to nvcc, which has to know the standard itself: the last one that is named."""
    standard = [flag for flag in host_flags if flag.startswith("-std=")][-1:]
    return standard + ["-Xcompiler=" + flag for flag in host_flags if not flag.startswith("-std=")]

def _compile(ctx, source, cc_toolchain, flags, inputs):
    (nvcc,) = [file for file in ctx.files._compiler if file.basename == "nvcc"]
    name = source.basename[:-len(source.extension)] + "pic.o"
    compiled = ctx.actions.declare_file("_objs/%s/%s" % (ctx.label.name, name))

    arguments = ctx.actions.args()
    arguments.add_all(["-x", "cu", "-c", source, "-o", compiled, "-ccbin", cc_toolchain.compiler_executable])
    arguments.add_all(gencode_flags(ctx.attr._archs[CudaArchsInfo].arch_specs))
    arguments.add_all(flags)

    # Names made up by the compiler, in the object file and of files on the way to it. By default they are random, and
    # files of two sandboxes meet in /tmp under the same number.
    arguments.add("-frandom-seed=" + compiled.short_path)
    arguments.add("-objtemp")
    arguments.add_all(ctx.attr.copts)

    ctx.actions.run(
        outputs = [compiled],
        inputs = depset([source], transitive = inputs),
        executable = nvcc,
        arguments = [arguments],
        env = {"PATH": "/usr/bin:/bin"},  # where nvcc finds the shell, and the host compiler its assembler
        mnemonic = "CudaCompile",
        progress_message = "Compiling %s" % source.short_path,
    )
    return compiled

def _cuda_library_impl(ctx):
    cc_toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = cc_toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    dependencies = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps + [ctx.attr._runtime]],
    )
    context = dependencies.compilation_context
    sources = [file for file in ctx.files.srcs if "." + file.extension in _SOURCES]
    private_headers = [file for file in ctx.files.srcs if "." + file.extension in _HEADERS]

    flags = ["-I" + path for path in ["."] + context.quote_includes.to_list() + context.includes.to_list()]
    flags += ["-isystem=" + path for path in context.system_includes.to_list()]
    flags += ["-D" + define for define in context.defines.to_list()]
    flags += _nvcc_flags(_host_flags(ctx, cc_toolchain, features))
    inputs = [
        depset(ctx.files.hdrs + private_headers + ctx.files._compiler),
        context.headers,
        cc_toolchain.all_files,
    ]
    outputs = cc_common.create_compilation_outputs(
        pic_objects = depset([_compile(ctx, source, cc_toolchain, flags, inputs) for source in sources]),
    )

    linking_context, linking_outputs = cc_common.create_linking_context_from_compilation_outputs(
        actions = ctx.actions,
        cc_toolchain = cc_toolchain,
        compilation_outputs = outputs,
        disallow_dynamic_library = True,
        feature_configuration = features,
        linking_contexts = [dependencies.linking_context],
        name = ctx.label.name,
    )
    library = linking_outputs.library_to_link
    own = CcInfo(
        compilation_context = cc_common.create_compilation_context(headers = depset(ctx.files.hdrs)),
        linking_context = linking_context,
    )
    return [
        DefaultInfo(files = depset([library.pic_static_library] if library else [])),
        cc_common.merge_cc_infos(cc_infos = [own, CcInfo(compilation_context = context)]),
    ]

cuda_library = rule(
    implementation = _cuda_library_impl,
    doc = """Compiles CUDA code, as position-independent code for the architectures of --@rules_cuda//cuda:archs.

The code that runs on the host is compiled with the flags of a cc_library. A file of device code is complete in itself:
it calls no device function of another file.
""",
    attrs = {
        "copts": attr.string_list(
            doc = "Further flags for nvcc.",
        ),
        "deps": attr.label_list(
            doc = "cuda_library and cc_library targets.",
            providers = [CcInfo],
        ),
        "hdrs": attr.label_list(
            allow_files = _HEADERS,
            doc = "Headers for the users of the library.",
        ),
        "host_copts": attr.string_list(
            doc = "Further flags for the host compiler.",
        ),
        "srcs": attr.label_list(
            allow_files = _SOURCES + _HEADERS,
            doc = "Sources, all of them compiled by nvcc, and headers for them alone.",
        ),
        "_archs": attr.label(default = "//cuda:archs"),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        "_compiler": attr.label(default = "//cuda/private:compiler"),
        "_runtime": attr.label(default = "//cuda/private:runtime"),
    },
    fragments = ["cpp"],
    provides = [CcInfo],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
