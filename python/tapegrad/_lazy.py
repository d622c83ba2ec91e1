"""Names of a package that are imported when first asked for, so that importing tapegrad stays fast (PEP 562)."""

from importlib import import_module


def lazy(scope, modules, names=None):
    """Returns __getattr__ and __dir__ for the package whose globals() are `scope`.

    modules: of the package, found under their own names. names: {module: the names in it that the package has, too}.
    """
    package = scope["__name__"]
    origins = {name: module for module, found in (names or {}).items() for name in found}

    def __getattr__(name):
        if name in modules:
            value = import_module(f".{name}", package)
        elif name in origins:
            value = getattr(import_module(f".{origins[name]}", package), name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        scope[name] = value
        return value

    def __dir__():
        return sorted({*scope, *modules, *origins})

    return __getattr__, __dir__
