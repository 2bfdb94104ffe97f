"""CPU kernels for many processors: the same sources, compiled once per instruction level."""

load("@rules_cc//cc:defs.bzl", "cc_library")

# Level to compiler flags, from the oldest processor to the newest. Kernels see the level as the macro NEEDLE_LEVEL.
# There is no -march=native: a binary must run on every x86-64 processor and chooses its level at startup.
_LEVELS = {
    "baseline": ["-march=x86-64"],
    "avx2": ["-march=x86-64-v3"],
    # By default gcc would use only half of each register.
    "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}

_COPTS = [
    "-Wall",
    "-Wextra",
    "-fno-gnu-unique",  # see _localize_shared_functions
    # Nothing reads errno or floating-point traps, and both forbid vectorizing. NaN, infinity and -0 stay as they are.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    # Where a loop lies in the cache lines of its code must not depend on code elsewhere: with two threads, the matrix
    # product's took 15 % longer at one place than at another.
    "-falign-functions=64",
    "-falign-loops=64",
] + select({
    "//bazel:dbg": ["-Og"],
    "//conditions:default": ["-O3"],
})

def cpu_kernel_library(name, srcs, hdrs = [], textual_hdrs = [], deps = [], copts = [], **kwargs):
    """Compiles kernels for every instruction level into one cc_library.

    Sources put all their definitions into `namespace needle::cpu::NEEDLE_LEVEL`, so that the levels can coexist in one
    binary.

    Args:
      name: target name.
      srcs: kernel files, compiled once for each level.
      hdrs: headers for the users of the kernels.
      textual_hdrs: headers whose meaning depends on the level.
      deps: cc_library targets; they are compiled once, for the baseline.
      copts: further compiler flags, for all levels.
      **kwargs: passed on to cc_library.
    """
    for level, flags in _LEVELS.items():
        compiled = "_%s_%s" % (name, level)
        cc_library(
            name = compiled,
            srcs = srcs,
            hdrs = hdrs,
            textual_hdrs = textual_hdrs,
            copts = _COPTS + flags + ["-DNEEDLE_LEVEL=" + level] + copts,
            linkstatic = True,
            visibility = ["//visibility:private"],
            deps = deps,
        )
        if level != "baseline":
            _localize_shared_functions(compiled, level)

    cc_library(
        name = name,
        srcs = [":_%s_%s_localized" % (name, level) for level in _LEVELS if level != "baseline"],
        hdrs = hdrs,
        linkstatic = True,
        textual_hdrs = textual_hdrs,
        deps = [":_%s_baseline" % name] + deps,
        **kwargs
    )

def _localize_shared_functions(library, level):
    """Makes the functions that object files share with code of other levels local to each object file.

    Two files that use, say, std::vector<int>::resize each hold a copy, and the linker keeps one for the whole program.
    If that were the copy compiled with AVX, code that runs before a level is chosen would crash on an older processor.
    So the functions that the linker would merge (weak ones) become local, except those in the level's own namespace,
    whose names differ anyway. The section groups by which the linker merges must be removed, too. Data shared by
    levels, such as a static variable of an inline function, is still merged, because it is weak (and not gnu_unique,
    hence the flag above).

    Args:
      library: name of the cc_library whose object files are used; `library`_localized is the resulting archive.
      level: name of the level.
    """
    native.genrule(
        name = library + "_localized",
        srcs = [":" + library],
        outs = ["lib%s_localized.a" % library],
        cmd = """
            echo '# objcopy refuses an empty list' > $@.weak
            $(NM) --defined-only $< | awk '$$2 == "W" && !/6needle3cpu{length}{level}/ {{ print $$3 }}' >> $@.weak
            $(OBJCOPY) --localize-symbols=$@.weak --remove-section=.group $< $@
            rm $@.weak
        """.format(length = len(level), level = level),
        toolchains = ["@bazel_tools//tools/cpp:current_cc_toolchain"],
    )
