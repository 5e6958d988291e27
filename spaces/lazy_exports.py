"""Package exports that are imported when they are first used, so that importing a package stays cheap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_exports(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """Returns the `__getattr__` of a package whose exported names live in its modules.

    `homes` maps each module, named relative to the package, to the names that it defines.
    """
    module_of = {name: f"{package}.{module}" for module, names in homes.items() for name in names}

    def get_export(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(module_of[name]), name)

    return get_export
