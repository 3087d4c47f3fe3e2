"""The relay of a PoP: reads routing tokens, makes flows, carries packets."""
