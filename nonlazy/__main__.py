"""`python -m nonlazy`."""

from nonlazy.cli import main

main()
