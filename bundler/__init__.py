"""envbundle: site-packages directories that are proved to work behind the air gap."""

__version__ = "0.1.0"
