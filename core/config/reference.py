"""docs/configuration.md, written from the declarations in `core.config`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from core.addr import Endpoint
from core.config import BACKEND, TABLES
from core.schema import is_required

ARRAYS = ("cluster", "pop")
RELOAD = {True: "yes", False: "no"}

PREAMBLE = """\
# Configuration

One TOML file. Every process reads its own tables of it and ignores those of the others, so one file
can serve a whole fleet, or each host can have its own. `voxpop config check FILE` names every fault
at once, and the fix; `voxpop config reference` prints this page.

Paths are relative to the directory of the file. A key that does not exist is a fault, not a remark.
`SIGHUP` makes relays and transceivers read the file and the keys again; where something in it is
wrong, the old settings stay. A reload takes what has "yes" under reload, or the name of the one
daemon that takes it; of anything else that has changed they say that it takes a restart, and go on
with what they have.

An example for one machine:

```toml
[token]
keys_file = "keys.toml"            # voxpop keys new keys.toml

[[cluster]]
id = 1
ipv4 = "127.0.0.1/32"
ports = [40000, 40007]

[[pop]]
id = "here"
vips = ["127.0.0.1:3478"]

[relay]
pop = "here"
vips = ["127.0.0.1:3478"]

[transceiver]
cluster = 1
host = 0                           # 127.0.0.1 is the only address of the cluster
http = "127.0.0.1:8080"
open = true                        # or: api_keys_file = "api-keys.toml"
```
"""

BACKENDS = f"""
## `[{BACKEND}.NAME]`

The settings of the backend that `transceiver.backend` names, if it has any: see what it says of
itself. A reload takes none of them. [backends.md](backends.md) tells how one is made.
"""


def write() -> str:
    """The page as Markdown."""
    return PREAMBLE + "".join(_table(name, declared) for name, declared in TABLES.items()) + BACKENDS


def example() -> str:
    """The configuration in the page, which a test checks."""
    return PREAMBLE.partition("```toml\n")[2].partition("```")[0]


def _table(name: str, declared: type) -> str:
    heading = f"[[{name}]]" if name in ARRAYS else f"[{name}]"
    # The declarations' docstrings begin with the table's name.
    about = (declared.__doc__ or "").partition(": ")[2].strip()
    rows = "".join(_rows(declared))
    return (
        f"\n## `{heading}`\n\n{about[0].upper()}{about[1:]}\n\n"
        f"| key | value | default | reload | |\n| --- | --- | --- | --- | --- |\n{rows}"
    )


def _rows(declared: type) -> Iterator[str]:
    for field in dataclasses.fields(declared):
        words = field.metadata["kind"].words.replace("|", "\\|")
        default = "required" if is_required(field) else _show(field.default)
        reload = RELOAD.get(field.metadata["reloadable"], field.metadata["reloadable"])
        yield f"| `{field.name}` | {words} | {default} | {reload} | {field.metadata['help']} |\n"


def _show(default: object) -> str:
    """A default as it would be written in TOML."""
    match default:
        case None:
            return "none"
        case bool():
            return f"`{str(default).lower()}`"
        case Endpoint():
            return f'`"{default}"`'
        case str():
            return f'`"{default}"`'
        case ():
            return "`[]`"
        case tuple():
            return f"`{list(default)}`"
        case _:
            return f"`{default}`"
