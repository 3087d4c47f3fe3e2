"""The processes of a transceiver host: supervisor and workers, their sockets and settings."""
