"""CPU kernels for many processors: the same sources, compiled once for each instruction level."""

load("@rules_cc//cc:defs.bzl", "cc_library")

# Level to compiler flags, from the oldest processor to the newest. Kernels see the level as the macro NEEDLE_LEVEL.
# There is no -march=native: a binary must run on every x86-64, and chooses its level when it starts.
_LEVELS = {
    "baseline": ["-march=x86-64"],
    "avx2": ["-march=x86-64-v3"],
    # gcc would use half of each register on its own.
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
] + select({
    "//bazel:dbg": ["-Og"],
    "//conditions:default": ["-O3"],
})

def cpu_kernel_library(name, srcs, hdrs = [], textual_hdrs = [], deps = [], copts = [], **kwargs):
    """Compiles kernels for every instruction level into one cc_library.

    Sources put all they define into `namespace needle::cpu::NEEDLE_LEVEL`, so that the levels stand side by side in
    one binary.

    Args:
      name: target name.
      srcs: kernel files, compiled once for each level.
      hdrs: headers for the users of the kernels.
      textual_hdrs: headers that mean something else at each level.
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
    """Makes private to each object file what it has in common with code of other levels.

    Two files that use, say, std::vector<int>::resize each hold a copy, and the linker keeps one for the whole program.
    If that were the copy made with AVX, code that runs before a level is chosen would crash on an older processor.
    So the functions that the linker would merge (weak ones) become local, but for those of the level's own namespace,
    whose names differ anyway. The groups by which the linker merges must go with them; data shared by levels, such as a
    static variable of an inline function, is still one, being weak (and not gnu_unique, hence the flag above).

    Args:
      library: name of the cc_library to take the object files of; `library`_localized is the archive made of them.
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
