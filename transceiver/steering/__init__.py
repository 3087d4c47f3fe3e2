"""Which PoPs an answer names: where the client is, how far the PoPs are from there, and which are fit."""
