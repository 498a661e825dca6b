"""A run in progress: chains advanced in pieces of about half a second, draws collected in blocks that fit in memory."""

from __future__ import annotations

import time
import warnings

import numpy as np

from nonlazy.errors import SamplingWarning
from nonlazy.posterior import Position
from nonlazy.sampling import adaptation
from nonlazy.sampling.chains import Chains, Sampler
from nonlazy.sampling.checkpoint import Arrays, Checkpoint
from nonlazy.sampling.devices import agreed, gather, in_any, shard
from nonlazy.sampling.interruption import Interruption
from nonlazy.sampling.progress import ProgressBar, Report

BLOCK_BYTES = 64 * 2**20
SECONDS_PER_PIECE = 0.5
SECONDS_BETWEEN_SAVES = 5.0


class Run:
    """Chains, the draws of complete blocks, and the block in progress, which lives on the device.

    Attributes:
        chains: state after the last transition.
        draws: by name, (chains, draws, ...); filled up to `n_drawn` once `go` has returned.
    """

    def __init__(self, sampler: Sampler, positions: Position, checkpoint: Checkpoint | None) -> None:
        self.sampler, self.schedule, self.checkpoint = sampler, sampler.schedule, checkpoint
        shapes = sampler.record_shapes()
        bytes_per_draw = sum(s.size * s.dtype.itemsize for s in shapes.values())
        n_chains, n_draws = self.schedule.chains, self.schedule.draws
        self.block = int(np.clip(BLOCK_BYTES // bytes_per_draw, 1, n_draws))
        self.draws: Arrays = {name: np.empty((n_chains, n_draws, *s.shape[1:]), s.dtype) for name, s in shapes.items()}
        self.buffers = sampler.buffers(self.block)
        self.first_draw = 0
        self.chains: Chains = sampler.start(positions)
        self._resume()

    @property
    def iteration(self) -> int:
        """Transitions made so far."""
        return int(self.chains.iteration)

    @property
    def n_drawn(self) -> int:
        """Draws made so far."""
        return max(self.iteration - self.schedule.warmup, 0) // self.schedule.thin

    def go(self, progress: bool | Report) -> None:
        """Advance to the end, or to an interruption.

        Interrupted with a checkpoint, the run saves and passes the interruption on; without one it keeps what it has.
        """
        with Interruption() as interruption, ProgressBar(self.schedule.transitions, progress) as bar:
            self._advance_until(interruption, bar)
        if self.iteration < self.schedule.transitions:
            self._save()
            if self.checkpoint or not self.n_drawn:
                raise KeyboardInterrupt
            self._place(self._partial())
            warnings.warn(
                f"Interrupted: {self.n_drawn} of {self.schedule.draws} draws were made and are returned.",
                SamplingWarning,
                stacklevel=5,
            )

    def _advance_until(self, interruption: Interruption, bar: ProgressBar) -> None:
        self._advance(self.iteration)  # compiles, makes no transition
        seconds, saved = agreed(self.sampler.seconds_of_first_transition(self.chains)), time.monotonic()
        while self.iteration < self.schedule.transitions and not in_any(interruption.requested):
            self._show(bar, seconds)
            before, began = self.iteration, time.perf_counter()
            piece = max(int(SECONDS_PER_PIECE / seconds), 1)
            self._advance(min(before + piece, self._end_of_block()))
            seconds = agreed((time.perf_counter() - began) / (self.iteration - before))
            if self.iteration == self._end_of_block():
                self._finish_block()
            elif time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                self._save()
                saved = time.monotonic()
        self._show(bar, seconds)

    def _advance(self, stop: int) -> None:
        self.chains, self.buffers = self.sampler.advance(self.chains, self.buffers, stop, self.first_draw)

    def _show(self, bar: ProgressBar, seconds: float) -> None:
        warming_up = self.iteration < self.schedule.warmup
        step_size = float(adaptation.current(self.chains.step_size, warming_up))
        bar.update("warm-up" if warming_up else "drawing", self.iteration, seconds, f"step size {step_size:.2g}")

    def _end_of_block(self) -> int:
        last = min(self.first_draw + self.block, self.schedule.draws)
        return self.schedule.warmup + last * self.schedule.thin

    def _finish_block(self) -> None:
        block = self._partial()
        self._place(block)
        if self.checkpoint:
            self.checkpoint.save_block(self.first_draw // self.block, block)
        self.first_draw = self.n_drawn
        self._save()

    def _partial(self) -> Arrays:
        """The draws of the block in progress, (draws, chains, ...)."""
        filled = self.n_drawn - self.first_draw
        return {name: gather(buffer[:filled]) for name, buffer in self.buffers.items()}

    def _place(self, block: Arrays) -> None:
        for name, values in block.items():
            self.draws[name][:, self.first_draw : self.first_draw + len(values)] = np.moveaxis(values, 0, 1)

    def _save(self) -> None:
        if self.checkpoint:
            self.checkpoint.save(self.chains, self.first_draw, self._partial())

    def _resume(self) -> None:
        saved = self.checkpoint.load(self.chains) if self.checkpoint else None
        if saved is None or self.checkpoint is None:
            return
        self.chains = self.sampler.place(saved.chains)
        while self.first_draw < saved.first_draw:
            block = self.checkpoint.load_block(self.first_draw // self.block)
            self._place(block)
            self.first_draw += len(block["lp"])
        filled = {name: b.at[: len(saved.draws[name])].set(saved.draws[name]) for name, b in self.buffers.items()}
        self.buffers = shard(filled, self.sampler.mesh, 1)
