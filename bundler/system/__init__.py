"""The world outside this process, one door each: programs, files, the network, the terminal."""
