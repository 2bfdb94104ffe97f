"""The command line flags of rules_cuda."""

load(":archs.bzl", "CudaArchsInfo", "parse_archs")

def _bool_flag_impl(_ctx):
    return []  # config_setting reads the value itself

bool_flag = rule(
    implementation = _bool_flag_impl,
    doc = "A flag that is True or False.",
    build_setting = config.bool(flag = True),
)

def _cuda_archs_flag_impl(ctx):
    return [CudaArchsInfo(arch_specs = parse_archs(ctx.build_setting_value))]

cuda_archs_flag = rule(
    implementation = _cuda_archs_flag_impl,
    doc = "A flag that names GPU architectures: see parse_archs.",
    build_setting = config.string(flag = True),
)
