"""`python -I …/core/service/start.py MODULE …`: a child, a worker above all, from before its first import.

Most of a worker's memory is what it imports, so that is where there is too little of it; and a worker that
dies of that is one sentence in the log, as any other of what the machine lacks.
"""

from __future__ import annotations

import sys

if __file__.rsplit("/", 3)[0] not in sys.path:  # a checkout that is not what is installed
    sys.path.insert(0, __file__.rsplit("/", 3)[0])

import runpy

from core.service.exhausted import lack

EXIT_FAILED = 1


def main() -> int:
    """Be the module that the first argument names; the others are its own."""
    module = sys.argv.pop(1)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except (OSError, MemoryError, ImportError, RuntimeError, SystemError) as error:
        lacking = lack(error)
        if lacking is None:
            raise
        print(f"{module}: {lacking}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
