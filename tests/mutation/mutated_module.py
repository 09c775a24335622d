"""A pytest plugin: the module MUTATED_MODULE is read from the file MUTATED_TEXT instead of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType


class _Mutated(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == os.environ.get("MUTATED_MODULE"):
            return spec_from_file_location(fullname, os.environ["MUTATED_TEXT"])
        return None


assert os.environ.get("MUTATED_MODULE") not in sys.modules, "imported before it could be mutated"
sys.meta_path.insert(0, _Mutated())
