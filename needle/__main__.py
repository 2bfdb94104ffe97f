"""`python -m needle` runs the command `needle`."""

import sys

from needle.command_line import main

sys.exit(main())
