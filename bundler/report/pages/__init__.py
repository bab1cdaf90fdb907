"""The HTML pages of a bundle and of a run over many bundles: one self-contained file each.

Templates, style and script are in this folder. The Content-Security-Policy of a page names style and script
by their hashes and allows nothing else.
"""
