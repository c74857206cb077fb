"""``python -m cryoembed`` is the ``cryoembed`` command."""

from cryoembed.cli import main

main()
