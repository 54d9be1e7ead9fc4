"""The report of a study: on the terminal, as a page, and as a summary that is kept."""
