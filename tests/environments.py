"""An environment of Python's with one more folder of packages: as if they were installed beside Voxpop."""

from __future__ import annotations

import shutil
import site
import sys
from pathlib import Path


def environment_with(packages: Path, folder: Path) -> str:
    """Its interpreter, made in `folder`; also that of its children, who take no word of a variable."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own, made = Path(sys.prefix), folder / "environment"
    (made / "bin").mkdir(parents=True)
    shutil.copy(own / "pyvenv.cfg", made)
    (made / "bin" / "python").symlink_to((own / "bin" / "python").resolve())
    installed = made / "lib" / version / "site-packages"
    installed.mkdir(parents=True)
    ours = "; ".join(
        f"site.addsitedir({path!r})" for path in site.getsitepackages() if own in Path(path).parents
    )
    (installed / "beside.pth").write_text(f"{packages}\nimport site; {ours}\n")
    return str(made / "bin" / "python")
