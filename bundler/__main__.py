"""`python -m bundler` is `envbundle`."""

from bundler.cli import main

main()
