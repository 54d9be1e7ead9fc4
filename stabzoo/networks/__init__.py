"""Networks whose blocks are steps: timm's contract, the network of multistep schemes, its steps, and checkpoints."""
