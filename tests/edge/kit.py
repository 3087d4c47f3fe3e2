"""What the relay's tests share: tokens and requests of a client, a transceiver's socket, a real relay."""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from core.addr import Endpoint, family_of
from core.keyring import Keyring
from core.stun import Attribute, MessageType, encode, encode_u32
from core.token import Token, expiry_after, mint
from ebpf.ids import VipId
from tests.paths import ROOT
from tests.ports import free_port
from tests.processes import end

CLUSTER = 7
PREFIX = "127.77.0.0/16"
MASTERS = {1: bytes(range(32)), 2: bytes(range(32, 64))}
KEYRING = Keyring({1: MASTERS[1]}, 1)
CLIENT_UFRAG = b"h6vY"
PATIENCE_S = 20.0
"""How long an event may take on a loaded machine; nothing waits this long when all is well."""
REPOSITORY = ROOT

_sessions = itertools.count(1)


def now_min() -> int:
    return int(time.time() // 60)


def mint_ufrag(
    port: int, *, host: int = 1, cluster: int = CLUSTER, keyring: Keyring = KEYRING, key_id: int = 1,
    lifetime_min: int = 60,
) -> bytes:  # fmt: skip
    """A token of its own session that leads to a port."""
    expiry = (
        expiry_after(now_min(), lifetime_min) if lifetime_min >= 0 else (now_min() + lifetime_min) & 0xFFFF
    )
    return mint(Token(key_id, cluster, host, port, expiry, next(_sessions) & 0xFFFF), keyring).encode()


def flip_tag(ufrag: bytes) -> bytes:
    """The ufrag with the least bit of the last byte of its tag changed, still base64."""
    last = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return ufrag[:-1] + last[last.index(ufrag[-1]) ^ 1 :][:1]


def password_of(ufrag: bytes, keyring: Keyring = KEYRING, key_id: int = 1) -> bytes:
    return keyring.ice_password(key_id, ufrag)


def request(ufrag: bytes, password: bytes | None = None, kind: int = MessageType.BINDING_REQUEST) -> bytes:
    """A connectivity check as a client sends it (RFC 8445 §7.2)."""
    attributes = [
        (Attribute.USERNAME, ufrag + b":" + CLIENT_UFRAG),
        (Attribute.ICE_CONTROLLING, os.urandom(8)),
        (Attribute.PRIORITY, encode_u32(0x6E7F1EFF)),
    ]
    return encode(kind, os.urandom(12), attributes, password_of(ufrag) if password is None else password)


MEDIA = b"\x80\x6f" + bytes(170)
"""Like RTP to whoever looks at the first byte."""
DTLS = b"\x16\xfe\xfd" + bytes(60)


class Vip(NamedTuple):
    """A VIP, and its number in the tables of the fast path."""

    id: VipId
    endpoint: Endpoint


class Peer:
    """A UDP socket with patience: a client, or a transceiver."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = socket.socket(family_of(host).af, socket.SOCK_DGRAM)
        self.socket.bind((host, port))
        self.address = Endpoint(*self.socket.getsockname()[:2])

    def send(self, data: bytes, to: Endpoint) -> None:
        self.socket.sendto(data, to)

    def receive(self, patience_s: float = PATIENCE_S) -> tuple[bytes, Endpoint]:
        self.socket.settimeout(patience_s)
        data, source = self.socket.recvfrom(65536)
        return data, Endpoint(*source[:2])

    def is_silent(self) -> bool:
        """Whether nothing has arrived. Ask only after something later is known to have been handled."""
        return not select.select([self.socket], [], [], 0)[0]

    def close(self) -> None:
        self.socket.close()


def write_keys(path: Path, masters: dict[int, bytes], mint_with: int) -> None:
    lines = [f"mint_with = {mint_with}", "[master]"]
    lines += [f'{key_id} = "{base64.b64encode(master).decode()}"' for key_id, master in masters.items()]
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait for something that the other process will come to by itself."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def store_table(url: str | None) -> str:
    """[store] of a configuration, or nothing."""
    return "" if url is None else f'[store]\nurl = "{url}"\n'


class RelayProcess:
    """A real `voxpop relay` with its workers. VIP 0 is IPv4, VIP 1 IPv6."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        cluster: str = "",
        store: str | None = None,
        **relay: object,
    ) -> None:
        """`store` is the URL of one."""
        self.directory = directory
        self.store = store
        self.vips = [Endpoint(host, free_port(host, socket.SOCK_DGRAM)) for host in ("127.0.0.5", "::1")]
        self.metrics = Endpoint("127.0.0.1", free_port("127.0.0.1", socket.SOCK_STREAM))
        self.settings: dict[str, object] = {
            "pop": "test",
            "vips": [str(vip) for vip in self.vips],
            "workers": workers,
            "metrics": str(self.metrics),
            "forwarder": "userspace",
            "admin_socket": "admin.sock",
            "answer_timeout_s": 600,  # transceivers of tests say nothing unasked
            **relay,
        }
        self.config = directory / "voxpop.toml"
        self.log = directory / "relay.log"
        write_keys(directory / "keys.toml", {1: MASTERS[1]}, 1)
        self.write_config(cluster)
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(self, cluster: str = "") -> None:
        settings = "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.settings.items())
        self.config.write_text(
            f'[token]\nkeys_file = "keys.toml"\n'
            f'[[cluster]]\nid = {CLUSTER}\nipv4 = "{PREFIX}"\nipv6 = "::/127"\nports = [1024, 65535]\n'
            f"{cluster}\n[relay]\n{settings}\n" + store_table(self.store)
        )

    def start(self) -> RelayProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "voxpop.py", "relay", "--config", str(self.config)],
                cwd=REPOSITORY, stderr=log,
            )  # fmt: skip
        try:
            eventually(lambda: self.is_ready() or self.pid_is_gone(), "the relay is ready")
            assert not self.pid_is_gone(), self.log_text()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __enter__(self) -> RelayProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            end(self.process)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def pid_is_gone(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def log_text(self) -> str:
        return self.log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.metrics}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def summary(self) -> dict[str, object]:
        read: dict[str, object] = json.loads(self.get("/healthz")[1])
        return read

    def samples(self) -> dict[tuple[str, ...], int]:
        """Every sample of /metrics that is a number: (name without voxpop_relay_, label values…) → value."""
        return {
            (sample.name.removeprefix("voxpop_relay_"), *sample.labels.values()): int(sample.value)
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if not math.isnan(sample.value)
        }

    def counter(self, *key: str) -> int:
        return self.samples()[key]

    def flows(self) -> int:
        return sum(value for key, value in self.samples().items() if key[0] == "flows")

    def worker_pids(self) -> list[int]:
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sorted(map(int, listed))

    def open_files(self) -> int:
        """Descriptors of all workers together."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.worker_pids())
