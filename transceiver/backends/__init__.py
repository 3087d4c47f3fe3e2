"""What answers a call: the interface, and the backends that come with Voxpop."""
