"""`voxpop version`: what runs here, for people, bug reports and playbooks."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import TYPE_CHECKING

from core.service.cli.options import add_json

if TYPE_CHECKING:
    from core.service.cli.options import Verbs


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Add `version` to the command line."""
    version = verbs.add_parser(
        "version",
        help="what this is: version, commit, layout of the fast path's maps, Python, kernel",
        description="Two versions with one layout of the maps, `schema`, keep each other's flows at an "
        "upgrade and at the way back; `voxpop dataplane check` looks whether those of a host will be kept.",
    )
    add_json(version)
    version.set_defaults(run=_version)


def about() -> dict[str, object]:
    """All that is told. `commit` is `unknown` in a checkout."""
    from core.service.build import COMMIT, VERSION
    from ebpf.layout import SCHEMA_VERSION

    return {
        "version": VERSION,
        "commit": COMMIT,
        "schema": SCHEMA_VERSION,
        "python": platform.python_version(),
        "prefix": sys.prefix,
        "kernel": os.uname().release,
    }


def _version(arguments: argparse.Namespace) -> int:
    told = about()
    if arguments.json:
        print(json.dumps(told))
        return 0
    print(f"voxpop {told['version']}, commit {told['commit']}")
    print(f"maps of the fast path: v{told['schema']}")
    print(f"Python {told['python']} in {told['prefix']}, Linux {told['kernel']}")
    return 0
