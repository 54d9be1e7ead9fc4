"""Doing a study: the driver, the executors and processes that train its runs, and what is done for one run."""
