"""The pure floor: bytes in, values out.

Nothing here opens a socket, reads a clock or imports another part of Voxpop. The one exception is
`core.service`, the plumbing every daemon needs (files, logs, supervision); no module of `core`
outside it may import it, and import-linter holds both rules.
"""
