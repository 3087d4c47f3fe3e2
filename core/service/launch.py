"""How every child process is started: which Python, with which environment.

A child runs the code of this installation. Python would look for modules in the working directory first, and
in what its variables name; whoever can write there would run as us.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

START = Path(__file__).with_name("start.py")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""Of numpy, in the environment before it is imported: one process has one CPU, and rights are a thread's."""
PASS_VARIABLE = "VOXPOP_PASS_ENVIRONMENT"  # noqa: S105 - the name of a variable
"""Names, with blanks between, of what else of our environment children are to have."""
LOCALE = "LC_"
NAMES = frozenset(
    (
        "BCC_KERNEL_SOURCE",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "PATH",
        "RUNTIME_DIRECTORY",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        PASS_VARIABLE,
    )
)
"""Where programs, certificates and room for files are, and how times and words are written."""


def module(name: str, *words: str) -> list[str]:
    """The command of a child that is a module of ours, or of a backend's: `module("voxpop", "relay")`.

    It runs our own code even where that is not what is installed, but a checkout.
    """
    return python(str(START), name, *words)


def python(*words: str) -> list[str]:
    """The command of a child that is Python.

    Isolated (`-I`): modules come from the installation, neither from the working directory nor from a user's
    packages, and no variable of Python's counts. What ours said of bytecode is said by an option.
    """
    return [sys.executable, "-I", *(["-B"] if sys.dont_write_bytecode else []), *words]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child finds in its environment: of ours, what it needs or the operator has named, and `more`."""
    passed = NAMES.union(os.environ.get(PASS_VARIABLE, "").split())
    kept = dict(ONE_THREAD)
    kept |= {name: text for name, text in os.environ.items() if name in passed or name.startswith(LOCALE)}
    return {**kept, **(more or {})}
