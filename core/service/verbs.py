"""The type of the thing that `register` functions add their verbs to."""

from __future__ import annotations

import argparse

Verbs = argparse._SubParsersAction  # noqa: SLF001 - argparse returns it and gives it no public name
