"""Unpacks the one wheel in a folder into the working directory, and prints what it depends on.

The layout is that of rules_python: `site-packages` for what is importable, and next to it `data`, `bin` and `include`
for what the wheel keeps under NAME.data. The dependencies are printed as a JSON list of repository names.
"""

import compileall
import email.parser
import json
import pathlib
import py_compile
import re
import shutil
import sys
import zipfile

from pip._vendor.packaging.requirements import Requirement

# PEP 427: the folders below NAME.data, and where each goes.
_DATA_FOLDERS = {
    "data": "data",
    "headers": "include",
    "platlib": "site-packages",
    "purelib": "site-packages",
    "scripts": "bin",
}


def destination(member):
    """Returns where a member of the archive goes."""
    folder, _, rest = member.partition("/")
    if not folder.endswith(".data"):
        return pathlib.Path("site-packages", member)
    key, _, rest = rest.partition("/")
    return pathlib.Path(_DATA_FOLDERS[key], rest)


def unpack(archive):
    for info in archive.infolist():
        if info.is_dir():
            continue
        path = destination(info.filename)
        if path.is_absolute() or ".." in path.parts:
            sys.exit(f"{archive.filename}: {info.filename} would be unpacked outside of its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
        path.chmod(0o755 if info.external_attr >> 16 & 0o111 else 0o644)


def dependencies(archive):
    """Returns the repository names of the packages that this one needs on this machine, without extras."""
    metadata = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
    message = email.parser.BytesParser().parsebytes(archive.read(metadata))
    needed = set()
    for line in message.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed.add(re.sub(r"[-.]", "_", requirement.name).lower())
    return sorted(needed)


def main():
    (wheel,) = pathlib.Path(sys.argv[1]).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        unpack(archive)
        # A sandboxed test could not keep bytecode for the next one. Sources here never change, so none is compared.
        compileall.compile_dir(
            "site-packages", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        print(json.dumps(dependencies(archive)))


if __name__ == "__main__":
    main()
