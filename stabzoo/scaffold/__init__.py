"""A new plugin: a complete distribution around given coefficients, which passes its own tests as it is written."""

from stabzoo.scaffold.distribution import FORMULAS, Kind, NewPlugin, write_plugin

__all__ = ["FORMULAS", "Kind", "NewPlugin", "write_plugin"]
