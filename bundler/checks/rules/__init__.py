"""The rules, a file a family, EB1xx leaks to EB6xx supply chain, and what they share."""
