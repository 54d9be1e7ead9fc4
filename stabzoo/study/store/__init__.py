"""What is kept of finished runs: records in one SQLite file, and the folders that runs are trained in."""
