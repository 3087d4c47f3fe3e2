"""The forwarder whose flows are records in the maps of the XDP program."""
