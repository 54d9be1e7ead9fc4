"""What ``results.json`` and every ``--json`` hold, as pydantic models, from which their JSON schemas are made."""
