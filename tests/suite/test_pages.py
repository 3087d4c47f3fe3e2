"""The code of a page, as tests take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import pages

PAGE = """# Title

Words, and `inline`.

```
a drawing
```

By `one thing`, in `file.py`:

```python
x = "`a`:"

```

No code before it:

```sh
true
```
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    return tmp_path


def test_blocks_have_a_language_a_line_and_the_name_that_introduces_them(root: Path) -> None:
    found = pages.blocks(root / "page.md")
    assert [(each.language, each.line, each.name) for each in found] == [
        ("", 6, None),
        ("python", 12, "file.py"),
        ("sh", 19, None),
    ]
    assert str(found[1]) == "page.md:12"


def test_a_block_is_found_by_its_name_and_whole(root: Path) -> None:
    assert pages.block("page.md", "file.py") == 'x = "`a`:"\n\n'
    assert pages.only("page.md", "sh") == ["true\n"]
    with pytest.raises(ValueError, match="not enough values"):
        pages.block("page.md", "other.py")
