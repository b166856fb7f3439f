"""``python -m consentmw``: the command line."""

from .cli import main

main()
