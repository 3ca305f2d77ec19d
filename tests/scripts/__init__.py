"""Tests of scripts that judge or count.

    python3 -m unittest discover -s tests/scripts -t . -p '*.py'

Needs target/release/ringsock and the tools of scripts/setup.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True  # nothing of ours is left in the tree


def script(path):
    """A script as a module: its name has no extension that Python would find it by."""
    name = path.replace("/", "_")
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "scripts" / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module
