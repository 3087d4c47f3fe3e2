"""How long a flow lives: by what its transceiver sends, which nobody outside can fake (docs/flows.md)."""

from __future__ import annotations

UNCONFIRMED_NS = 3_000_000_000
"""Without a word from its transceiver, which answers a check as soon as it has it."""
SILENCE_NS = 9_000_000_000
"""Of a transceiver where nothing else is configured, also of one that never said anything to a flow that was
restored. A live one sends fifty packets a second, or a check every five seconds on a path that is a spare.
"""
EXPELLING_NS = -3_600_000_000_000
"""The silence after which every flow ends: nobody was heard as late as that."""
