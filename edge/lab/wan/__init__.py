"""The WAN of a lab: links that delay, lose and are cut, made of TUN devices and one process (docs/wan.md)."""
