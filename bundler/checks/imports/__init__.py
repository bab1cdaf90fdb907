"""The proof by importing: run isolated, kept, and repeated with libraries hidden."""
