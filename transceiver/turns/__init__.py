"""When a caller speaks, and when a turn is over."""
