"""Activations and labels from files of any origin: arrays, tables, and runs of this library."""

from nonlazy.activation_files.reading import SUFFIXES, Recording, read

__all__ = ["SUFFIXES", "Recording", "read"]
