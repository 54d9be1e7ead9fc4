"""Plugins: what registry.yaml files say, who is installed and owns what, and their code, loaded under guard."""
