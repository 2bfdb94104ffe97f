"""Rules for CUDA code, under rules_cuda's names: the part of upstream that this project uses, for nvcc on Linux."""

load("//cuda/private:cuda_library.bzl", _cuda_library = "cuda_library")

cuda_library = _cuda_library

def requires_cuda():
    """For `target_compatible_with`: without CUDA (//cuda:enable) a target is left out of `//...`."""
    return select({
        "@rules_cuda//cuda:is_enabled": [],
        "//conditions:default": ["@rules_cuda//cuda:rules_are_enabled"],
    })
