"""A site that opens from the file system: schemes explored with exact verdicts, and the zoo to browse."""
