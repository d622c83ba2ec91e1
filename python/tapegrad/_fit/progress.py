"""The progress bar of fit()."""

from __future__ import annotations

import sys
import time

_REFRESH = 0.1  # seconds between updates


class Bar:
    """One tqdm bar over all epochs, in samples; nothing at all when it is not wanted or nobody would see it."""

    def __init__(self, wanted: bool, epochs: int, batches):
        self.bar = None
        self.epochs = epochs
        if wanted and epochs and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm

            samples = _sample_count(batches)
            total = None if samples is None else samples * epochs
            self.bar = tqdm(total=total, unit=" samples", unit_scale=True, dynamic_ncols=True)
            self.samples = samples
        self.shown = 0.0
        self.pending = 0
        self.seen = (1, 0)  # epoch, samples of it

    def update(self, epoch: int, totals) -> None:
        if self.bar is None:
            return
        before, seen = self.seen
        skipped = (epoch - 1 - before) * (self.samples or 0)  # epochs that a resumed run has behind it
        self.pending += totals.samples - (seen if before == epoch else 0) + max(skipped, 0)
        self.seen = (epoch, totals.samples)
        now = time.perf_counter()
        if now - self.shown >= _REFRESH:
            self.shown = now
            self._flush(epoch, totals)

    def _flush(self, epoch: int, totals) -> None:
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix(loss=f"{totals.loss / totals.samples:.4g}", refresh=False)
        self.bar.update(self.pending)
        self.pending = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.update(self.pending)
            self.bar.close()


def _sample_count(batches) -> int | None:
    try:
        count = len(batches.dataset)
        return len(batches) * batches.batch_size if batches.drop_last else count
    except (AttributeError, TypeError):
        return None
