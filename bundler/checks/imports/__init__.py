"""The import proof: isolated imports, the evidence kept of them, and imports without some libraries."""
