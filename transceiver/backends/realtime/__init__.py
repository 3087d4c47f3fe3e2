"""The backend that is somewhere else: a client of the OpenAI Realtime protocol over a WebSocket."""
