"""Images and labels: what a data set is (``spec``), and reading it from memory, archives and folders."""
