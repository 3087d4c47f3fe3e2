"""The Python mirror of the C: structs by offset and size, constants, reasons and their actions."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from ebpf import layout
from ebpf.loader import PROGRAM_DIR
from ebpf.verdict import COUNTERS, FAMILIES, KNOWN, REASON_STRIDE, REASONS, Reason

CONSTANTS = (
    "LOCAL_CELLS_LOG2",
    "LOCAL_CELLS",
    "LOCAL_VIPS",
    "FOLD_MULTIPLIER",
    "VIPS",
    "BACKBONES",
    "NEXTHOPS",
    "EGRESSES",
    "TOKEN_KEYS",
    "PUNT_CLASS_STUN",
    "PUNT_CLASS_MEDIA",
    "PUNT_CLASS_CONTESTED",
    "PUNT_CLASSES",
    "PUNT_TOKENS",
    "CLOCK_SET",
    "UPSTREAM",
    "DOWNSTREAM",
    "GROUP_SLOTS",
    "GROUP_FIRST",
    "GROUPS",
    "CLIENT_GROUPS",
    "GROUP_ORDER",
    "BUCKET_ENTRIES",
    "SLOT_BITS",
    "INDEX_FIND",
    "INDEX_GROUP",
    "INDEX_LINK",
    "INDEX_UNLINK",
    "SLOT_OFF",
    "SLOT_LIVE",
    "SLOT_RIVAL",
    "INDEX_KNOWS",
    "KNOWS_CONTESTS",
    "COUNT_BITS",
    "COUNT_PACKETS",
    "TRANSCEIVERS",
)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a C program says that the headers say."""
    fields = [
        (
            f"{name}.{field[0]}",
            f"offsetof(struct {name}, {field[0]})",
            f"sizeof(((struct {name} *)0)->{field[0]})",
        )
        for name, struct in layout.STRUCTS.items()
        for field in struct._fields_
    ]
    lines = [f'printf("{label} %zu:%zu\\n", {offset}, {size});' for label, offset, size in fields]
    lines += [f'printf("{name} %zu\\n", sizeof(struct {name}));' for name in layout.STRUCTS]
    lines += [f'printf("{name} %llu\\n", (unsigned long long)VP_{name});' for name in CONSTANTS]
    source = f"""
        #include <stddef.h>
        #include <stdio.h>
        #include "layout.h"
        #include "parse.h"
        #include "verdict.h"
        #define SAY(name, action, label) printf("reason/%d %s/%s\\n", VP_##name, label, #action);
        int main(void) {{
            {" ".join(lines)}
            VP_REASON_LIST(SAY)
            printf("reasons %d\\n", VP_REASONS);
            printf("families %d\\n", VP_FAMILIES);
            printf("stride %d\\n", VP_REASON_STRIDE);
            printf("counters %d\\n", VP_COUNTERS);
            return 0;
        }}
    """
    folder = tmp_path_factory.mktemp("layout")
    (folder / "say.c").write_text(source)
    command = ["clang", "-Wall", "-Werror", f"-I{PROGRAM_DIR}", "say.c", "-o", "say"]
    subprocess.run(command, cwd=folder, check=True)
    said = subprocess.run([folder / "say"], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines())


@pytest.mark.parametrize("name", layout.STRUCTS)
def test_structs(compiled: dict[str, str], name: str) -> None:
    struct = layout.STRUCTS[name]
    end = 0
    for field in struct._fields_:
        place = getattr(struct, field[0])
        assert compiled[f"{name}.{field[0]}"] == f"{place.offset}:{place.size}"
        assert place.offset == end, "padding that is not a field"
        end = place.offset + place.size
    assert compiled[name] == str(end)


def test_no_struct_is_left_out() -> None:
    text = (PROGRAM_DIR / "layout.h").read_text()
    declared = {line.split()[1] for line in text.splitlines() if line.startswith("struct vp_")}
    assert declared == set(layout.STRUCTS)


def test_constants(compiled: dict[str, str]) -> None:
    for name in CONSTANTS:
        assert compiled[name] == str(getattr(layout, name))


def test_reasons(compiled: dict[str, str]) -> None:
    assert compiled["reasons"] == str(len(KNOWN))
    assert compiled["families"] == str(len(FAMILIES))
    assert compiled["stride"] == str(REASON_STRIDE)
    assert compiled["counters"] == str(COUNTERS)
    assert (*KNOWN, Reason.UNKNOWN) == REASONS
    for number, reason in enumerate(KNOWN):
        assert compiled[f"reason/{number}"] == f"{reason}/{reason.action.name}"


def test_a_map_keeps_its_size_under_its_schema() -> None:
    """A pinned map cannot be resized: a new field takes reserved bytes, or the version rises."""
    assert layout.SCHEMA_VERSION == 6
    sizes = {name: ctypes.sizeof(struct) for name, struct in layout.STRUCTS.items()}
    known = {
        "vp_config": 348160, "vp_group": 16, "vp_bucket": 64, "vp_up4": 16, "vp_up6": 32, "vp_down4": 32,
        "vp_down6": 64, "vp_flow_aux": 16, "vp_transceiver4": 8, "vp_transceiver6": 24, "vp_counter": 16,
        "vp_source": 12, "vp_debt": 32, "vp_token_debt": 8, "vp_index_request": 48,
    }  # fmt: skip
    assert {name: sizes[name] for name in known} == known


@pytest.mark.parametrize(
    ("header", "old", "new", "said"),
    [
        (
            "verdict.h",
            'X(DROP_INTERNAL, DROP, "drop_internal")',
            " ".join(f'X(DROP_{n}, DROP, "{n}")' for n in range(64 - len(KNOWN) + 2)),
            "no counter is left for another reason",
        ),
        ("layout.h", "__u64 reserved_cold[6];", "__u64 more, reserved_cold[6];", "takes reserved bytes"),
    ],
    ids=["reasons", "config"],
)
def test_where_the_room_ends_the_compiler_says_so(
    tmp_path: Path, header: str, old: str, new: str, said: str
) -> None:
    text = (PROGRAM_DIR / header).read_text()
    assert old in text
    copy = tmp_path / header
    command = ["clang", "-fsyntax-only", f"-I{PROGRAM_DIR}", str(copy)]
    copy.write_text(text)
    subprocess.run(command, check=True)
    copy.write_text(text.replace(old, new))
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert said in refused.stderr


def test_the_documents_have_every_reason() -> None:
    text = (PROGRAM_DIR.parents[1] / "docs" / "fastpath.md").read_text()
    text = text.partition("## Verdicts")[2].partition("\n## ")[0]
    told = set(re.findall(r"`((?:forward|punt|pass|drop|unknown)[a-z_]*\*?)`", text))
    whole = {each for each in told if not each.endswith("*")}
    families = tuple(each.rstrip("*") for each in told if each.endswith("*"))
    assert {reason for reason in REASONS if not reason.startswith(families)} <= whole <= set(REASONS)


def test_a_packet_needs_one_cache_line_of_each_table() -> None:
    assert layout.Config.budget.offset == 64
    assert 4 * ctypes.sizeof(layout.Up4) == 2 * ctypes.sizeof(layout.Up6) == 64
    assert 2 * ctypes.sizeof(layout.Down4) == ctypes.sizeof(layout.Down6) == 64
    assert ctypes.sizeof(layout.Bucket) == 64


def test_every_license_line() -> None:
    for path in Path(PROGRAM_DIR).glob("*.[ch]"):
        assert "SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)" in path.read_text().splitlines()[0]
