"""`python -m qwen3_rag` is the command line."""

import sys

INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""


def main() -> None:
    """Run the command line. Its imports take a second, in which Ctrl-C deserves better than a traceback."""
    try:
        from qwen3_rag.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
