"""Which fast path the inspecting verbs look at."""

from __future__ import annotations

import pytest

from voxpop import build_parser


@pytest.mark.parametrize("verb", [["stats"], ["flows", "list"], ["flows", "count"]])
def test_a_configuration_and_a_directory_are_one_too_many(
    verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([*verb, "--config", "a", "--pin-dir", "b"])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
