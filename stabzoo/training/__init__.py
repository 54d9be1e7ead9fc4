"""Training one network: the loop, exact checkpoints, several processes, and the session that trainings share."""
