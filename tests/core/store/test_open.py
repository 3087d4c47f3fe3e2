"""From the configuration to a store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from core.config import StoreSettings
from core.store.open import open_guarded
from core.store_url import StoreSecrets, parse_store_url
from tests.core.store.kit import keeps_the_contract
from tests.redis_server import Server, running


def test_a_table_gives_a_server_and_none_gives_memory(tmp_path: Path) -> None:
    async def works(settings: StoreSettings | None, password: str | None = None) -> None:
        store = open_guarded(settings, StoreSecrets(password))
        try:
            await keeps_the_contract(store)
        finally:
            await store.close()

    asyncio.run(works(None))
    asyncio.run(works(StoreSettings(url=parse_store_url("memory://"))))
    with running(Server(tmp_path / "redis", ("--requirepass", "secret"))) as server:
        asyncio.run(works(StoreSettings(url=parse_store_url(server.url), timeout_ms=1000), "secret"))
        keys = "redis-cli", "-p", str(server.port), "-a", "secret", "DBSIZE"
        assert subprocess.run(keys, check=True, capture_output=True).stdout != b"0\n"


def test_who_has_no_server_does_not_load_its_client() -> None:
    code = "import sys; from core.store import open; open.open_guarded(None); print('redis' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == "False\n"
