"""The processes of a PoP host: relay supervisor and workers, the dataplane they stand on."""
