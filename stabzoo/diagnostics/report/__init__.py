"""A diagnosis of one model: measured, put in sections and figures, and written as a page."""
