"""The examples of the implicit ResNet paper: their data, networks, training and figures."""
