"""Inspection and operation of a PoP host: one module per verb, its parser included.

A verb's module is imported for `--help`, what it needs when it runs.
"""
