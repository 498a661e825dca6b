"""Configurations that come with the library."""
