"""A backend as a process of its own: serves the OpenAI Realtime event protocol over WebSockets.

Copy it, or import it: `contract` says what a session of yours has to be, docs/backends.md has one whole.
"""
