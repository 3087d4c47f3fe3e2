"""Where the tests of a module lie: `tests/FOLDER/test_MODULE.py`, a second file is `test_MODULE_ASPECT.py`.

A package that does something itself, in its `__init__.py`, is a module of its parent folder.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PARTS = ("core", "ebpf", "edge", "transceiver")
SOURCES = (".py", ".c")

EXEMPT = {
    "core/errors.py": "exceptions as declared; who raises them is tested for it",
    "ebpf/errors.py": "exceptions as declared; who raises them is tested for it",
    "transceiver/caller/errors.py": "exceptions as declared; who raises them is tested for it",
    "core/service/cli/__init__.py": "puts verbs together, each of which has tests",
    "edge/cli.py": "puts verbs together, each of which has tests",
    "transceiver/cli.py": "puts verbs together, each of which has tests",
}
"""Modules with functions, and no tests of their own; by reason."""


def modules(root: Path) -> Iterator[PurePosixPath]:
    """Every module of the parts whose tests have a place; a package by its folder."""
    for part in PARTS:
        for path in sorted((root / part).rglob("*")):
            if path.suffix in SOURCES and path.name != "__init__.py":
                yield PurePosixPath(path.relative_to(root))
            elif path.name == "__init__.py" and does_something(path.read_text()):
                yield PurePosixPath(path.relative_to(root).parent)


def does_something(source: str) -> bool:
    """Whether there are functions, or classes with methods, that are no mere protocol."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.ClassDef) and not _is_protocol(node) and any(map(_is_method, node.body)))
        for node in ast.parse(source).body
    )


def _is_method(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _is_protocol(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base).partition("[")[0] == "Protocol" for base in node.bases)


def without_tests(root: Path) -> list[str]:
    """Modules that do something and have no tests under their name."""
    missing = []
    for module in modules(root):
        path = root / module
        source = path / "__init__.py" if path.is_dir() else path
        folder = root / "tests" / module.parent
        name = str(source.relative_to(root))
        if name in EXEMPT or (source.suffix == ".py" and not does_something(source.read_text())):
            continue
        if not any(folder.glob(f"test_{module.stem}.py")) and not any(
            folder.glob(f"test_{module.stem}_*.py")
        ):
            missing.append(name)
    return missing


def without_a_module(root: Path) -> list[str]:
    """Files of tests in the parts' folders whose name begins with that of no module there."""
    named = {str(module.with_suffix("")) for module in modules(root)}
    strays = []
    for part in PARTS:
        for path in sorted((root / "tests" / part).rglob("test_*.py")):
            words = path.stem.split("_")[1:]
            folder = path.parent.relative_to(root / "tests").as_posix()
            if not any(f"{folder}/{'_'.join(words[:n])}" in named for n in range(1, len(words) + 1)):
                strays.append(str(path.relative_to(root)))
    return strays
