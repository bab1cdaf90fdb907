"""What lies on disk: the tree, its manifest and lock, and the verifier that travels with them."""
