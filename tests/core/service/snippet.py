"""A module that runs the code in its argument."""

import sys

exec(sys.argv[1])
