"""Terminates WebRTC and bridges it to an inference backend."""
