"""What the relay decides about a datagram, and what follows from it. No socket is opened here."""
