"""Training one network: the loop, exact checkpoints, several processes. Studies train with the same loop."""
