"""Sweeps: samples and theory over a grid or a random design of configurations, on the processes of a Dask cluster."""

from nonlazy.sweep.sweep import sweep

__all__ = ["sweep"]
