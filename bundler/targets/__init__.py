"""Where a bundle runs: Pythons, images, and which wheels they accept."""
