"""Trained networks in use: predictions for images, files for other runtimes, and repositories of the hub."""
