"""Where the client is and how bytes get there: the UDP port, ICE-lite, DTLS and SCTP."""
