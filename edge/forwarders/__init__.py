"""What every forwarder shares, and the one that needs no kernel program."""
