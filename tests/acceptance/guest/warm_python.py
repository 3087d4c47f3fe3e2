"""A Python that has started already, for Ansible's modules on a machine whose processor is emulated.

Each task of a playbook starts a Python there, which compiles and imports all that a module needs: a fifth of
a second on a processor, five where it is emulated, and hundreds of times. This process has imported the
standard library, and forks for each that `warm_python.c` asks for, with the environment, the folder and the
files of who asks. What is compiled of a module's archive is kept by its text. Debian's Python, and nothing
besides.

It runs on the machine, apart from the checkout.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import io
import marshal
import os
import signal
import socket
import sys
import traceback
import types
import zipimport
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

SOCKET, KEPT = map(Path, sys.argv[1:3])
"""Where it is asked, and where code is kept."""
FILES = 4
"""Standard input, output and error, and the folder to be in."""
MAX_BYTES = 1 << 20
IMPORTED = (
    "apt",
    "apt.debfile",
    "argparse",
    "base64",
    "ctypes",
    "ctypes.util",
    "dataclasses",
    "datetime",
    "email.message",
    "enum",
    "fcntl",
    "fnmatch",
    "getpass",
    "glob",
    "grp",
    "http.client",
    "http.cookiejar",
    "importlib.util",
    "inspect",
    "ipaddress",
    "json",
    "locale",
    "logging",
    "multiprocessing",
    "pathlib",
    "platform",
    "pwd",
    "queue",
    "random",
    "runpy",
    "secrets",
    "select",
    "selectors",
    "shlex",
    "shutil",
    "ssl",
    "stat",
    "struct",
    "subprocess",
    "syslog",
    "tarfile",
    "tempfile",
    "typing",
    "urllib.request",
    "uuid",
    "zipfile",
)

_compile: Callable[[str, bytes], types.CodeType] = vars(zipimport)["_compile_source"]
_known: dict[str, types.CodeType] = {}
"""Code by the digest of its text: of all that was compiled before this process began."""


def compile_once(path: str, source: bytes) -> types.CodeType:
    """As zipimport compiles a file of an archive, whose text may have been another's."""
    digest = hashlib.sha256(source).hexdigest()
    if digest in _known:
        return _known[digest]
    code = _compile(path, source)
    made = KEPT / f".{os.getpid()}"
    made.write_bytes(marshal.dumps(code))
    made.rename(KEPT / digest)
    return code


def learn() -> None:
    """What those have compiled that have ended since."""
    for kept in KEPT.iterdir():
        if kept.name not in _known and not kept.name.startswith("."):
            _known[kept.name] = marshal.loads(kept.read_bytes())


def serve() -> NoReturn:
    """Until the machine is switched off."""
    KEPT.mkdir(mode=0o700, parents=True, exist_ok=True)
    vars(zipimport)["_compile_source"] = compile_once
    for name in IMPORTED:
        with contextlib.suppress(ModuleNotFoundError):  # a host without apt is no Debian
            importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listening:
        bound = SOCKET.with_suffix(".new")
        listening.bind(str(bound))
        bound.chmod(0o600)
        listening.listen()
        bound.rename(SOCKET)  # who finds it is answered
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            asking, _ = listening.accept()
            learn()
            if os.fork() == 0:
                listening.close()
                become(asking)
            asking.close()


def become(asking: socket.socket) -> NoReturn:
    """The Python that was asked for. Does not return."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        environment = receive(asking)
        os.environ.clear()
        os.environ.update(environment)
        status = run(sys.stdin.buffer.read())
    except BaseException:  # noqa: BLE001 - whatever ends it is told, as by Python itself
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = 1
        asking.sendall(bytes([status]))
        os._exit(status)


def receive(asking: socket.socket) -> dict[str, str]:
    """The environment; the files and the folder are taken at once."""
    data, files, _, _ = socket.recv_fds(asking, MAX_BYTES, FILES)
    size, data = int.from_bytes(data[:4], "little"), data[4:]
    while len(data) < size:
        data += asking.recv(MAX_BYTES)
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    os.fchdir(files[3])
    for file in files:
        os.close(file)
    pairs = (line.partition(b"=") for line in data.split(b"\0") if line)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def run(source: bytes) -> int:
    """Its exit status."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"")))
    sys.argv = [""]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        exec(compile(source, "<stdin>", "exec"), vars(main))
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return (ended.code or 0) & 0xFF
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return 0


if __name__ == "__main__":
    serve()
