"""Third parties' passes, dialects, ops, kernels and targets, found by the entry point group `tinyc.plugins`.

A package names one `Plugin` object in that group. Everything in it is text, `module:attribute`, imported on use, so that an installed
plug-in costs nothing until it is needed. docs/plugins.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tinyc.errors import PluginError, printable

GROUP = "tinyc.plugins"


@dataclass(frozen=True)
class Plugin:
    """What a plug-in adds. Values are `module:attribute` (for `targets`, the path of a TOML file).

    `passes` maps a pass's command-line name to its class; `dialects` lists xDSL dialects; `evaluators` and `lowerings` map an op's name,
    such as `acme.swish`, to its interpreter function and its lowering rule; `kernel_modules` lists modules that define kernel specs.
    """

    passes: Mapping[str, str] = field(default_factory=dict)
    dialects: tuple[str, ...] = ()
    evaluators: Mapping[str, str] = field(default_factory=dict)
    lowerings: Mapping[str, str] = field(default_factory=dict)
    kernel_modules: tuple[str, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Addition:
    """One thing that a plug-in adds, and which plug-in it was."""

    name: str
    where: str
    plugin: str

    def load(self) -> Any:
        """The object behind `module:attribute`. Raises PluginError naming the plug-in."""
        module, _, attribute = self.where.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            raise PluginError(f"plug-in {self.plugin}: cannot load {printable(self.where)}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Kind and text of an error that somebody else's code raised, on one line."""
    return f"{type(error).__name__}: {printable(str(error).splitlines()[0] if str(error) else '')}"


@cache
def installed_plugins() -> Mapping[str, Plugin]:
    """All plug-ins by entry point name, in alphabetical order. Raises PluginError for one that cannot be loaded or is no Plugin."""
    found: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        if entry.name in found:
            raise PluginError(f"two plug-ins are called {printable(entry.name)}; uninstall one of them")
        found[entry.name] = _load(entry)
    return found


def _load(entry: EntryPoint) -> Plugin:
    try:
        plugin = entry.load()
    except Exception as error:
        raise PluginError(f"plug-in {printable(entry.name)} ({printable(entry.value)}) cannot be loaded: {describe(error)}") from error
    if not isinstance(plugin, Plugin):
        raise PluginError(
            f"plug-in {printable(entry.name)}: {printable(entry.value)} is a {type(plugin).__name__}, expected a tinyc.plugins.Plugin"
        )
    return plugin


def additions(kind: str, taken: Callable[[str], bool] = lambda name: False) -> dict[str, Addition]:
    """Everything that plug-ins add to the mapping `kind` (a field of Plugin) by name.

    Raises PluginError where two plug-ins, or a plug-in and tinyc itself (`taken`), use the same name.
    """
    found: dict[str, Addition] = {}
    for plugin_name, plugin in installed_plugins().items():
        for name, where in getattr(plugin, kind).items():
            if taken(name):
                raise PluginError(f"plug-in {plugin_name}: {kind} name {printable(name)} belongs to tinyc")
            if name in found:
                raise PluginError(f"plug-ins {found[name].plugin} and {plugin_name} both add {kind} name {printable(name)}")
            found[name] = Addition(name, where, plugin_name)
    return found


def listed(kind: str) -> list[Addition]:
    """Everything that plug-ins add to the tuple `kind` (`dialects` or `kernel_modules`)."""
    return [Addition(where, where, name) for name, plugin in installed_plugins().items() for where in getattr(plugin, kind)]
