"""What a training keeps in its folder: a network that describes itself, and opens again."""
