"""The code in the pages is code: what a reader copies is taken by what he gives it to.

What is run as it stands has a test of its own, where its part lies; this is the least for all of it.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import voxpop
from core.config import parse
from core.config.reference import example
from tests.pages import PAGES, Block, blocks
from tests.paths import ROOT
from transceiver.backends.registry import BUILT_IN, choose
from transceiver.signaling.apikeys import load_api_keys

BLOCKS = [block for page in PAGES for block in blocks(page)]
VERBS = re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
OTHER_TOML = {"project": "of a package", "master": "a file of keys"}
"""Tables that are in no voxpop.toml."""
COMMENT = re.compile(r"(^|(?<=\s))#.*", re.MULTILINE)
LEFT_OUT = re.compile(r"\[.*?\]|…|\|\S+")
"""Of a command in a sentence: what it may have, what is not said, and other words for the one before."""
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]*\b")
RUN_BY = {
    ("README.md", "js"): "tests/browser/test_roaming.py",
    ("docs/clients.md", "go"): "tests/peers/test_pion.py",
    ("docs/clients.md", "html"): "tests/browser/test_clients.py",
    ("docs/clients.md", "js"): "tests/peers/test_clients_npm.py",
    ("docs/live.md", "js"): "tests/peers/test_clients_npm.py",
    ("docs/steering.md", "js"): "tests/browser/test_clients.py",
    ("docs/token.md", "go"): "tests/core/test_token_docs.py",
}
"""What takes no less than a browser or a compiler, and the test that has it."""


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(script: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, in words."""
    script = COMMENT.sub("", script.replace("\\\n", " "))
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";|&()<>\n")
    lexer.whitespace = " \t"
    lexer.commenters = ""
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set(";|&()\n"):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def judge_command(words: list[str]) -> None:
    """By the parser of the command, or by the Makefile. A redirection ends what they see."""
    words = words[: next((at for at, word in enumerate(words) if word in "<>"), len(words))]
    if words[:1] == ["voxpop"]:
        voxpop.build_parser().parse_args(words[1:])
        if "--" in words:
            judge_command(words[words.index("--") + 1 :])
    elif words[:1] == ["make"]:
        assert [word for word in words[1:] if "=" not in word and word not in VERBS] == []


def judge_sh(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for words in commands(text):
        judge_command(words)


def judge_console(text: str) -> None:
    """Commands after a prompt, and what they print."""
    typed = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    assert typed
    judge_sh("\n".join(typed))


def judge_toml(text: str) -> None:
    """A part of a voxpop.toml, in place of its tables in the example of docs/configuration.md."""
    part: dict[str, Any] = tomllib.loads(text)
    if part.keys() & OTHER_TOML.keys():
        return
    if "key" in part:
        judge_api_keys(text)
        return
    whole: dict[str, Any] = tomllib.loads(example())
    for name, table in part.items():
        if isinstance(table, list):
            own = {row["id"] for row in table}
            whole[name] = table + [row for row in whole.get(name, []) if row["id"] not in own]
        else:
            whole[name] = whole.get(name, {}) | table
    if "api_keys_file" in part.get("transceiver", {}):
        del whole["transceiver"]["open"]
    read = parse(whole)
    ours = {own.name for own in BUILT_IN}
    chosen = read.transceiver.backend if read.transceiver is not None else "parrot"
    tables = {name: table for name, table in read.backends.items() if name in ours}
    choose(chosen if chosen in ours else "parrot", tables)


def judge_api_keys(text: str) -> None:
    """A part of a file of API keys."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:  # 0600, as such a file has to be
        file.write(text)
        file.flush()
        load_api_keys(Path(file.name))


def judge_ini(text: str) -> None:
    """A unit of systemd, which takes a comment behind a value for a part of it."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(text)
    values = [value for section in unit.sections() for value in unit[section].values()]
    assert [value for value in values if "#" in value] == []


JUDGES: dict[str, Callable[[str], object]] = {
    "console": judge_console,
    "ini": judge_ini,
    "json": json.loads,
    "python": ast.parse,
    "sh": judge_sh,
    "toml": judge_toml,
}


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in JUDGES], ids=str)
def test_code_is_taken_by_what_it_is_for(block: Block) -> None:
    JUDGES[block.language](block.text)


def test_every_block_has_a_language_that_is_judged_or_none() -> None:
    others = {(relative(block.page), block.language) for block in BLOCKS} - {
        (relative(page), language) for page in PAGES for language in ("", *JUDGES)
    }
    assert others == RUN_BY.keys()
    assert [test for test in RUN_BY.values() if not (ROOT / test).exists()] == []


def test_commands_are_marked_as_such() -> None:
    """Else nobody would judge them."""
    first = re.compile(r"^(voxpop|make|pip|curl|apt|ip|kubectl) [a-z-]", re.MULTILINE)
    assert [str(block) for block in BLOCKS if not block.language and first.search(block.text)] == []


INLINE = [
    (page, words)
    for page in PAGES
    for words in sorted(set(re.findall(r"`(voxpop [a-z][^`]*)`", page.read_text())))
]


@pytest.mark.parametrize("page", sorted({page for page, _ in INLINE}), ids=relative)
def test_commands_in_a_sentence_are_ones_that_there_are(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be without what they need, as a name is."""
    wrong = []
    for text in (words for where, words in INLINE if where == page):
        try:
            judge_command(shlex.split(PLACEHOLDER.sub("1", LEFT_OUT.sub("", text))))
        except SystemExit as refused:
            said = capsys.readouterr().err
            if refused.code and "arguments are required" not in said and "expected one argument" not in said:
                wrong.append((text, said.splitlines()[-1]))
    assert wrong == []
