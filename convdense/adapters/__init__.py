"""Adapters: a framework's layers become this library's numbers and implementations; each needs its framework."""
