"""Scripts of timm's, or any others, with our models known to it: ``python -m stabzoo.timm validate.py ...``."""
