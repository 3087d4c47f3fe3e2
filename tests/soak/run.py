"""`make soak`: calls for hours, a line a minute, bars at the end; the same and all samples in soak.json.

    python -m tests.soak.run MINUTES CALLS

The exit status is 1 when a bar was missed, and 130 after a Ctrl-C, which ends all calls, gives all
back and tells what was seen until then.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from tests.bench.run import machine
from tests.soak.bars import as_json, judge, render
from tests.soak.soak import Found, Plan, soak

OUTPUT = Path("soak.json")
CUT_EVERY_S = 15.0


def main(argv: list[str]) -> int:
    """Minutes and calls at once."""
    minutes, calls = float(argv[0]), int(argv[1])
    _tell(f"{calls} calls for {minutes:g} minutes, on {machine()}")
    found = asyncio.run(_play(Plan(minutes * 60, calls, CUT_EVERY_S)))
    bars = judge(found)
    print(render(bars))
    told = {"machine": machine(), **as_json(found, bars)}
    OUTPUT.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    if not found.is_whole:
        return 130
    return 0 if all(bar.is_met for bar in bars) else 1


async def _play(plan: Plan) -> Found:
    """A Ctrl-C ends the calls, a second one everything."""
    playing = asyncio.current_task()
    assert playing is not None
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        playing.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    return await soak(plan, _tell)


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
