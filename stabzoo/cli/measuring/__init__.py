"""The commands that measure one network, of timm or of a training's folder."""
