"""The HTML pages: of a bundle, and of a run over many."""
