"""The truth method: what real requirement files do in a bare Debian, against what envbundle says of them."""
