"""What `scripts/attack` does besides feeding readers: kills runs, and looks for planted secrets."""
