"""What `voxpop call` takes from outside, for its parser and for what it does."""

KEY_VARIABLE = "VOXPOP_API_KEY"
"""Of the environment: holds the API key."""
MAX_SECONDS = 3600
"""Longest call, s: as long as hosts are upgraded under it."""
MAX_RECORDED_SECONDS = 600
"""Longest call of which all is kept that is heard, s."""
MAX_CALLS = 200
"""Of one process: more than a core can play and hear, and with two files each within the usual limit."""
DEFAULT_RATE, MAX_RATE = 10.0, 100.0
"""Calls that begin in a second."""
