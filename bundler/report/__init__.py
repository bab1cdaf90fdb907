"""What people read of a bundle: its HTML page, what changed since another one, its bill of materials (SBOM).

Nothing here reads a clock, a file of the bundle or the network: a report is a function of its arguments.
"""
