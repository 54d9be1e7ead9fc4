"""What is read from the command line: options, parameters, and names of data sets."""
