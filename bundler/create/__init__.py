"""The connected side: from requirements to a tree, a file a stage."""
