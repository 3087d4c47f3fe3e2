"""Flow records: which of other relays to ask for, which to write and when. Nothing is in a packet's way."""
