"""The pure headers compiled for the host: fuzzed under sanitizers, with real packets as seeds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ebpf.loader import PROGRAM_DIR
from tests import pcap
from tests.ebpf.prog.test_relay_xdp import EXTENSIONS, NOP_OPTIONS
from tests.ebpf.rig import FLOW4, FLOW6, REQUEST, TAG, upstream

HARNESS = Path(__file__).with_name("fuzz_headers.c")
SECONDS = int(os.environ.get("SECONDS_EACH", "5"))


@pytest.fixture(scope="session")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("host") / "fuzz_headers"
    # Packets are read in words wherever they lie, as every machine that runs XDP can.
    sanitizers = "-fsanitize=fuzzer,address,undefined", "-fno-sanitize=alignment"
    flags = ["-g", "-O1", "-Wall", "-Werror", "-fno-sanitize-recover=all", *sanitizers]
    subprocess.run(["clang", *flags, f"-I{PROGRAM_DIR}", str(HARNESS), "-o", str(binary)], check=True)
    return binary


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of every shape, and the datagrams of real clients."""
    folder = tmp_path_factory.mktemp("seeds")
    frames = [
        upstream(flow, REQUEST).but(tags=(TAG,) * tags) for flow in (FLOW4, FLOW6) for tags in (0, 1, 2)
    ]
    frames.append(upstream(FLOW4, REQUEST).but(options=NOP_OPTIONS))
    frames += [upstream(FLOW6, REQUEST).but(extensions=chain) for chain, _ in EXTENSIONS.values()]
    datagrams = pcap.read_datagrams(pcap.CAPTURES / "chromium-lite.pcap")
    frames += [upstream(FLOW4, datagram.payload) for datagram in datagrams[:40]]
    for number, frame in enumerate(frames):
        (folder / str(number)).write_bytes(bytes(frame))
    return folder


def test_fuzz(fuzzer: Path, seeds: Path, tmp_path: Path) -> None:
    command = [str(fuzzer), str(seeds), f"-max_total_time={SECONDS}", "-max_len=1600", "-timeout=5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_every_truncation_of_every_seed(fuzzer: Path, seeds: Path, tmp_path: Path) -> None:
    """Shorter than the kernel's test run takes them, too."""
    cuts = set()
    for seed in seeds.iterdir():
        frame = seed.read_bytes()
        cuts |= {frame[:length] for length in range(min(len(frame), 220))}
    for number, cut in enumerate(sorted(cuts)):
        (tmp_path / str(number)).write_bytes(cut)
    command = [str(fuzzer), "-runs=0", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
