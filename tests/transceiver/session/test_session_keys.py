"""No key of an ended session is left in the memory of its process, as another process reads it."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from OpenSSL import SSL
from yarl import URL

from tests.memory import search
from tests.transceiver.host_kit import CALLS, Host
from transceiver.caller.api import SignalingClient
from transceiver.caller.call import Call
from transceiver.caller.transport import Transport
from transceiver.media.keys import SrtpKeys
from transceiver.media.ticker import Ticker
from transceiver.transport.certificate import Certificate

CALLS_IN_TURN = 2
PATIENCE_S = 20.0
DTLS_MASTER = "DTLS master secret"
MASTER, SESSION = "to the server master key", "to the server encryption key 0"
SRTP_LABELS = {"encryption": (0, 3), "authentication": (1, 4), "salt": (2, 5)}
"""Of RTP and of RTCP (RFC 3711 §4.3.2)."""


def srtp_secrets(way: str, profile: str, material: bytes) -> dict[str, bytes]:
    """Master key and salt, and the session keys that follow from them (RFC 3711 §4.3.1)."""
    key_bytes = 16 if "128" in profile else 32
    key, salt = material[:key_bytes], material[key_bytes:]
    found = {f"{way} master key": key, f"{way} master salt": salt}
    for name, labels in SRTP_LABELS.items():
        size = {"encryption": key_bytes, "authentication": 20, "salt": len(salt)}[name]
        for label in labels:
            start = bytearray(salt.ljust(16, b"\0"))
            start[7] ^= label
            stream = Cipher(algorithms.AES(key), modes.CTR(bytes(start))).encryptor()
            found[f"{way} {name} key {label}"] = stream.update(bytes(size))
    return found


def dtls_secrets(ssl: SSL.Connection) -> dict[str, bytes]:
    """The master secret, and the keys of records that follow from it (RFC 5246 §6.3)."""
    assert ssl.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"
    master, client, server = ssl.master_key(), ssl.client_random(), ssl.server_random()
    assert master is not None
    assert client is not None
    assert server is not None
    seed = b"key expansion" + server + client
    once = hmac.digest(master, seed, "sha256")
    block = hmac.digest(master, once + seed, "sha256")
    return {DTLS_MASTER: master, "DTLS client key": block[:16], "DTLS server key": block[16:32]}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Those of the latest call of this process, as its own end has them."""
    found: dict[str, bytes] = {}
    receive_keys = Transport.receive_keys

    def learn(self: Transport, keys: SrtpKeys, now_ns: int) -> None:
        found.clear()
        found.update(srtp_secrets("from the server", keys.profile, bytes(keys.receive)))
        found.update(srtp_secrets("to the server", keys.profile, bytes(keys.send)))
        found.update(dtls_secrets(cast(SSL.Connection, self._peer._dtls._ssl)))
        receive_keys(self, keys, now_ns)

    monkeypatch.setattr(Transport, "receive_keys", learn)
    return found


def test_an_ended_session_leaves_none_of_its_keys(tmp_path: Path, secrets: dict[str, bytes]) -> None:
    async def one(api: SignalingClient, ticker: Ticker, pid: int) -> set[str]:
        call = Call(api, ticker, Certificate.generate())
        await call.connect()
        some = {name: secrets[name] for name in (DTLS_MASTER, MASTER, SESSION)}
        assert search(pid, some) == set(some), "the search finds what is there"
        await call.hang_up()
        async with asyncio.timeout(PATIENCE_S):
            while search(pid, {DTLS_MASTER: secrets[DTLS_MASTER]}):  # noqa: ASYNC110 - another's memory
                await asyncio.sleep(0.05)
        return search(pid, secrets)

    async def run() -> list[set[str]]:
        ticker = Ticker()
        try:
            async with aiohttp.ClientSession() as http:
                url = f"http://127.0.0.1:{host.http}{CALLS}"
                api = SignalingClient(http, URL(url), host.keys["alice"])
                return [await one(api, ticker, host.workers[0]) for _ in range(CALLS_IN_TURN)]
        finally:
            ticker.close()

    with Host(tmp_path, processes=1, is_reachable=True) as host:
        assert asyncio.run(run()) == [set()] * CALLS_IN_TURN
