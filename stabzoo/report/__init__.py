"""What stabzoo draws and writes for people to look at."""
