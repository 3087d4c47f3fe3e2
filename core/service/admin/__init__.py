"""The admin socket of a daemon: a Unix socket by which its operator, on its host, tells it things."""
