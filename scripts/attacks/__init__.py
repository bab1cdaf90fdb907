"""`scripts/attack`: changed inputs, kills, full disks, planted tokens and hostile code."""
