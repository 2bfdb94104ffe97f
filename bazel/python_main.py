"""Python that can import needle: [-c CODE | -m MODULE | FILE] [ARGUMENT ...], or interactive when there are none.

Not the interpreter's own start: that puts the working directory first on the path, and in a checkout of this project
`import needle` would then find sources without the compiled modules.
"""

from __future__ import annotations

import code
import os
import runpy
import sys


def main() -> None:
    # `bazel run` starts programs in their runfiles; file names on a command line are meant from where the user is.
    os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))

    arguments = sys.argv[1:]
    if not arguments:
        import readline  # noqa: F401  gives the prompt a history

        code.interact(local={"__name__": "__main__"})
    elif arguments[0] in ("-c", "-m") and len(arguments) == 1:
        sys.exit(f"an argument is expected for {arguments[0]}")
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif os.path.isfile(arguments[0]):
        sys.argv = arguments
        sys.path.append(os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        sys.exit(f"no such file: {arguments[0]}")


if __name__ == "__main__":
    main()
