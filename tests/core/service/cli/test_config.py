"""`voxpop config check`, through the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.service.cli.kit import voxpop
from tests.paths import ROOT


def test_config_check_of_a_good_file(site: Path) -> None:
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert (done.returncode, done.stdout, done.stderr) == (0, "voxpop.toml: no problems found\n", "")
    done = voxpop("config", "check", site / "voxpop.toml", "--json", cwd=ROOT)
    assert json.loads(done.stdout) == {"ok": True, "problems": [], "notes": []}


def test_config_check_names_every_fault_at_once(site: Path) -> None:
    (site / "voxpop.toml").write_text("[token]\n[relay]\nworker = 1\n[relais]\n")
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "voxpop: voxpop.toml: [relais] is not a table; did you mean relay?",
        "voxpop: voxpop.toml: token.keys_file is missing: file with the master keys, mode 0600; "
        "made by `voxpop keys new`",
        "voxpop: voxpop.toml: relay.worker is not a setting; did you mean workers?",
        "voxpop: voxpop.toml: relay.pop is missing: name of the PoP that this host is",
        "voxpop: voxpop.toml: relay.vips is missing: addresses and UDP ports to listen on",
        "voxpop: voxpop.toml: relay: tokens lead into clusters, so at least one [[cluster]] is needed",
    ]


def test_config_check_looks_into_the_secrets_too(site: Path) -> None:
    config = site / "voxpop.toml"
    config.write_text(config.read_text().replace("open = true", 'api_keys_file = "api.toml"\n#'))
    (site / "keys.toml").chmod(0o644)
    done = voxpop("config", "check", "voxpop.toml", "--json", cwd=site)
    assert done.returncode == 1
    assert sorted(json.loads(done.stdout)["problems"]) == [
        "api.toml: cannot be read: No such file or directory",
        "keys.toml: holds secrets but others can read it; run: chmod 600 keys.toml",
    ]
    (site / "keys.toml").chmod(0o600)
    (site / "api.toml").write_text("[key]\nshop = 'plain'\n")
    (site / "api.toml").chmod(0o600)
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert done.returncode == 1
    assert "api.toml: key.shop" in done.stderr
    assert "plain" not in done.stderr


def test_config_check_runs_what_the_daemons_check_at_their_start(site: Path) -> None:
    config = site / "voxpop.toml"
    config.write_text(config.read_text().replace('"127.0.0.1:3478"]\n\n[tr', '"0.0.0.0:3478"]\n\n[tr'))
    done = voxpop("config", "check", "voxpop.toml", cwd=site)
    assert done.returncode == 1
    assert "relay.vips: 0.0.0.0:3478" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_config_check_says_what_it_may_not_read(site: Path) -> None:
    site.chmod(0o755)
    (site / "voxpop.toml").chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AS_NOBODY],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert json.loads(done.stdout) == {
        "ok": True,
        "problems": [],
        "notes": ["keys.toml: not checked, for this user cannot read it"],
    }


CHECK_AS_NOBODY = """
import os, sys
import core.service.files, edge.host.settings
import transceiver.host.settings, voxpop  # before the right to read them goes
os.setresuid(65534, 65534, 65534)
sys.exit(voxpop.main(["config", "check", "voxpop.toml", "--json"]))
"""
