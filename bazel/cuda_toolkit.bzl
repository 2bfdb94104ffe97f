"""The CUDA toolkit, from NVIDIA's wheels: one tree of compiler, headers and libraries, as a repository."""

_BUILD = """\
package(default_visibility = ["//visibility:public"])

filegroup(
    name = "compiler_deps",
    srcs = glob(["cuda/bin/**", "cuda/nvvm/**"]),
)

cc_library(
    name = "cuda_headers",
    hdrs = glob(["cuda/include/**"]),
    includes = ["cuda/include"],
)

# Linked statically: it is small, belongs to the compiler's version, and loads the driver when it is first called.
cc_library(
    name = "cuda_runtime",
    srcs = ["cuda/lib/libcudart_static.a"],
    linkopts = [
        "-ldl",
        "-lpthread",
        "-lrt",
    ],
    deps = [":cuda_headers"],
)

# The libraries below are only linked to. A program that is to run finds them in their wheels: docs/cuda.md says how.

cc_library(
    name = "cublas",
    deps = [
        ":cublasLt_so",
        ":cublas_so",
        ":cuda_headers",
    ],
)

cc_import(
    name = "cublas_so",
    interface_library = "cuda/lib/libcublas.so",
    system_provided = True,
)

cc_import(
    name = "cublasLt_so",
    interface_library = "cuda/lib/libcublasLt.so",
    system_provided = True,
)

cc_library(
    name = "cudnn",
    deps = [
        ":cuda_headers",
        ":cudnn_so",
    ],
)

cc_import(
    name = "cudnn_so",
    interface_library = "cuda/lib/libcudnn.so",
    system_provided = True,
)
"""

def _cuda_toolkit_impl(rctx):
    for wheel in rctx.attr.wheels:
        for part in rctx.path(wheel).dirname.get_child("site-packages").get_child("nvidia").readdir():  # cu13, cudnn
            for folder in part.readdir():
                for entry in folder.readdir():
                    rctx.symlink(entry, "cuda/%s/%s" % (folder.basename, entry.basename))
                    if ".so." in entry.basename:  # wheels lack the unversioned name that a linker looks for
                        name = entry.basename.partition(".so.")[0]
                        rctx.symlink(entry, "cuda/%s/%s.so" % (folder.basename, name))
    rctx.file("BUILD.bazel", _BUILD)

cuda_toolkit = repository_rule(
    implementation = _cuda_toolkit_impl,
    doc = "Lays wheels over one another, as NVIDIA's installer would, into `cuda/{bin,include,lib,nvvm}`.",
    attrs = {
        "wheels": attr.label_list(
            mandatory = True,
            doc = "A file at the root of the repository of each wheel. Fetching this repository fetches those.",
        ),
    },
)
