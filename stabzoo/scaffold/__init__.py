"""A new plugin: a complete distribution of a scheme, a branch, an evaluation or models, which passes its own tests."""

from stabzoo.scaffold.distribution import Kind, NewPlugin, write_plugin

__all__ = ["Kind", "NewPlugin", "write_plugin"]
