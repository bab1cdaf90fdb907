"""Programs for those who work on envbundle; a package so that tests can import parts of it."""
