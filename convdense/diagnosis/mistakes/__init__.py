"""Mistakes people make, one family to a file, and the order in which `diagnose` tries them."""
