"""What `voxpop call` takes from outside, for its parser and for what it does."""

KEY_VARIABLE = "VOXPOP_API_KEY"
"""Of the environment: holds the API key."""
MAX_SECONDS = 600
"""Longest call, s."""
