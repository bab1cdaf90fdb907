"""Folders at a URL: files listed, read and written whole."""
