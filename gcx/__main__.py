"""`python -P -m gcx`."""

from gcx.cli.app import main

main()
