"""GPU architectures: how the flag //cuda:archs spells them, and what nvcc is told."""

CudaArchsInfo = provider(
    doc = "The architectures to compile for.",
    fields = {
        "arch_specs": "list of structs: stage1_arch, the number of the virtual architecture that code is first " +
                      "compiled for, and codes, what is made of that: sm_80, machine code, or compute_80, PTX",
    },
)

def _number(arch, prefixes):
    for prefix in prefixes:
        if arch.startswith(prefix) and arch[len(prefix):len(prefix) + 2].isdigit():
            return arch[len(prefix):]
    fail("GPU architecture '%s', expected %s and a number" % (arch, " or ".join(prefixes)))

def _value(number):
    return int(number.rstrip("abcdefghijklmnopqrstuvwxyz"))  # there are 90a and 100f

def _parse_spec(spec):
    virtual, separator, codes = spec.rpartition(":")
    codes = [code.strip() for code in codes.split(",")]
    numbers = [_number(code, ["sm_", "compute_"]) for code in codes]
    return struct(
        codes = codes,
        stage1_arch = _number(virtual.strip(), ["compute_"]) if separator else sorted(numbers, key = _value)[0],
    )

def parse_archs(archs):
    """Reads the value of the flag //cuda:archs.

    Args:
      archs: specifications, separated by `;`. Each is `compute_80:sm_80,sm_86,compute_80`: a virtual architecture, and
        what is made of its code, `sm_` for machine code and `compute_` for PTX, which the driver of a later GPU
        compiles. Without the part before the colon it is the lowest of the others. Of nothing at all, nvcc decides.

    Returns:
      a list of structs, as in CudaArchsInfo.
    """
    return [_parse_spec(spec) for spec in archs.split(";") if spec.strip()]

def gencode_flags(arch_specs):
    """Returns nvcc's flags for what parse_archs returned."""
    return [
        "-gencode=arch=compute_%s,code=%s" % (spec.stage1_arch, code)
        for spec in arch_specs
        for code in spec.codes
    ]
