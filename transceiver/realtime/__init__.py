"""The OpenAI Realtime event protocol as it is on the wire."""
