"""The build backend: setuptools, and the torch to build against.

A binary runs only under the torch it was built against, so the build uses the torch that is installed. A build in
isolation does not see it: pip hides the packages of the interpreter it runs, uv and `python -m build` run another
interpreter in an environment of their own. They are looked up here and put last on sys.path, so that all other
requirements are still those of the isolated build. Where there is no torch at all, the build asks for one. What was
tried instead is in docs/adr/0018-install.md.
"""

import importlib.util
import os
import site
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools.build_meta import (  # noqa: F401
    build_editable,
    build_sdist,
    build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

OLDEST = (2, 10)
REQUIRED = f"torch>={OLDEST[0]}.{OLDEST[1]}"


def folders() -> list[str]:
    """Where installed packages may be: of this interpreter first, then of the active environment, then of .venv."""
    outside_venv = sys.base_prefix in site.PREFIXES  # or in one that sees the system's packages
    own = ([site.getusersitepackages()] if outside_venv else []) + site.getsitepackages()
    active = [Path(folder).parent for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    others = [prefix for prefix in (*active, Path.cwd() / ".venv") if (prefix / "pyvenv.cfg").exists()]
    return own + [sysconfig.get_path("platlib", vars={"platbase": str(prefix)}) for prefix in others]


def find_torch() -> bool:
    """Makes the installed torch importable; returns whether there is one."""
    if importlib.util.find_spec("torch"):
        return True
    for folder in folders():
        if (Path(folder) / "torch").is_dir():
            site.addsitedir(folder)
            return True
    return False


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [] if found else [REQUIRED]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [] if found else [REQUIRED]


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    return []


found = find_torch()
