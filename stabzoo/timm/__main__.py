"""``python -m stabzoo.timm SCRIPT.py ARGUMENTS``."""

import os
import runpy
import sys

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Run the script that is named first as Python runs it, with the arguments that follow, once stabzoo is imported.

    Raises:
        SystemExit: no script is named.
    """
    if not arguments or arguments[0].startswith("-"):
        sys.exit("usage: python -m stabzoo.timm SCRIPT.py ARGUMENTS: expected a script, e.g. timm's validate.py")
    import stabzoo  # noqa: F401 -- timm then knows its models

    sys.argv = arguments
    sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
