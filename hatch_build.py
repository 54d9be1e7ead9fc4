"""Ship the top-level registry.yaml inside the wheel."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipRegistry(BuildHookInterface):
    """Put the checkout's ``registry.yaml`` into a built wheel as ``stabzoo/registry.yaml``."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to a standard wheel only: an editable install reads the checkout's own file."""
        if version == "standard":
            build_data["force_include"]["registry.yaml"] = "stabzoo/registry.yaml"
