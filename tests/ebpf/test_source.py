"""The joined text: everything is in it once, and every line of it knows where it is from."""

from __future__ import annotations

import re
from pathlib import Path

from ebpf.loader import PROGRAM_DIR, SOURCE
from ebpf.source import join

JOINED = Path("/nowhere/joined.c")


def test_every_line_knows_its_file_and_number() -> None:
    source = join(SOURCE, JOINED, "int extra;\nint more;")
    files = {path.name: path.read_text().splitlines() for path in PROGRAM_DIR.glob("*.[ch]")}
    files["extra"] = ["int extra;", "int more;"]
    lines = source.text.splitlines()
    assert len(lines) == len(source.origins)
    told = set()
    for line, (name, number) in zip(lines, source.origins, strict=True):
        if not line.startswith("#line"):
            assert line == files[name][number - 1]
            told.add((name, number))
    included = re.compile(r'#include "\w+\.h"')
    everything = {
        (name, number)
        for name, each in files.items()
        for number, line in enumerate(each, 1)
        if not included.fullmatch(line)
    }
    assert told == everything
    assert len(lines) - sum(line.startswith("#line") for line in lines) == len(told), "each once"


def test_the_compiler_is_told_the_number_of_the_next_line() -> None:
    lines = join(SOURCE, JOINED).text.splitlines()
    numbers = [(at, int(line.split()[1])) for at, line in enumerate(lines, 1) if line.startswith("#line")]
    assert len(numbers) > 50
    assert all(number == at + 1 for at, number in numbers)


def test_what_is_printed_names_the_parts(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text('// main\n#include "part.h"\n\nint end;\n')
    (tmp_path / "part.h").write_text('#include "pure.h"\nint f(void)\n{\n\treturn 1;\n}\n')
    (tmp_path / "pure.h").write_text("int pure;\n")
    source = join(tmp_path / "main.c", JOINED, "int x;")
    at = {line: number for number, line in enumerate(source.text.splitlines(), 1)}
    for line, origin in {
        "\treturn 1;": "part.h:4",
        "int pure;": "pure.h:1",
        "int end;": "main.c:4",
        "int x;": "extra:1",
    }.items():
        assert source.named(f"{JOINED}:{at[line]}:5: error") == f"{origin}:5: error"
        assert source.named(f"; text @ joined.c:{at[line]}") == f"; text @ {origin}"
    assert source.named("joined.c:999 joined.c:0 other.c:3") == "joined.c:999 joined.c:0 other.c:3"
