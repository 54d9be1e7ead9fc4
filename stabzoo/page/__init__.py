"""A site that opens from the file system: schemes explored with exact verdicts, the zoo, and studies."""
