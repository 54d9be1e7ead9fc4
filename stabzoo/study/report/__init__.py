"""The report of a study: on the terminal, as a page, as a summary that is kept, and as a table for other programs."""
