"""Writes a wheel (the binary distribution format 1.0) whose bytes depend on nothing but its contents."""

import argparse
import base64
import hashlib
import pathlib
import zipfile

# The zip format's earliest time.
_TIME = (1980, 1, 1, 0, 0, 0)


class WheelFile:
    """A wheel being written; closing it adds the RECORD of what it holds."""

    def __init__(self, path, distinfo):
        self._zip = zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED)
        self._distinfo = distinfo
        self._record = []

    def add(self, name, contents):
        self._write(name, contents)
        digest = base64.urlsafe_b64encode(hashlib.sha256(contents).digest()).rstrip(b"=").decode()
        self._record.append(f"{name},sha256={digest},{len(contents)}\n")

    def close(self):
        name = f"{self._distinfo}/RECORD"
        self._write(name, "".join([*self._record, f"{name},,\n"]).encode())
        self._zip.close()

    def _write(self, name, contents):
        info = zipfile.ZipInfo(name, _TIME)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
        self._zip.writestr(info, contents)


def pair(text):
    name, _, path = text.partition("=")
    return name, pathlib.Path(path)


def entry_points(pairs):
    """Returns the contents of entry_points.txt."""
    groups = {}
    for group, _, entry in (pair.partition(":") for pair in pairs):
        groups.setdefault(group, []).append(entry)
    return "\n".join("\n".join([f"[{group}]", *sorted(groups[group]), ""]) for group in sorted(groups))


def main():
    parser = argparse.ArgumentParser(description=__doc__, fromfile_prefix_chars="@")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the wheel; its name holds the tags")
    parser.add_argument("--metadata", type=pathlib.Path, required=True, help="headers of METADATA")
    parser.add_argument("--description", type=pathlib.Path, help="Markdown text that follows them")
    parser.add_argument("--member", type=pair, action="append", default=[], help="NAME=FILE to package")
    parser.add_argument("--distinfo", type=pair, action="append", default=[], help="NAME=FILE for .dist-info")
    parser.add_argument("--entry_point", action="append", default=[], help="GROUP:ENTRY, as console_scripts:name = ...")
    args = parser.parse_args()

    distribution, version, python_tag, abi, platform = args.out.stem.split("-")
    distinfo = f"{distribution}-{version}.dist-info"

    metadata = args.metadata.read_text(encoding="utf-8")
    if args.description:
        metadata += "Description-Content-Type: text/markdown\n\n" + args.description.read_text(encoding="utf-8")

    wheel = WheelFile(args.out, distinfo)
    for name, path in sorted(args.member):
        wheel.add(name, path.read_bytes())
    wheel.add(f"{distinfo}/METADATA", metadata.encode())
    wheel.add(
        f"{distinfo}/WHEEL",
        "Wheel-Version: 1.0\n"
        "Generator: wheelmaker 1.0\n"
        f"Root-Is-Purelib: {str(abi == 'none').lower()}\n"
        f"Tag: {python_tag}-{abi}-{platform}\n".encode(),
    )
    if args.entry_point:
        wheel.add(f"{distinfo}/entry_points.txt", entry_points(args.entry_point).encode())
    for name, path in sorted(args.distinfo):
        wheel.add(f"{distinfo}/{name}", path.read_bytes())
    wheel.close()


if __name__ == "__main__":
    main()
