"""A tuning's progress as it happens: a live display in a terminal, lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tunesmith import StepMetric, TuningClient, TuningJob
from tunesmith.cli.curve import loss_curve
from tunesmith.cli.following import followed

POLL_INTERVAL = 0.5
SECONDS_BETWEEN_LINES = 5.0
CURVE_HEIGHT = 5
WIDE = 110
COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


def show_progress(
    client: TuningClient, job_id: str, console: Console, *, poll_interval: float = POLL_INTERVAL
) -> TuningJob:
    """Show a job's phase, epoch, step, loss, tokens/s, time left and loss curve until it ends; the ended job.

    In a terminal the display redraws itself; elsewhere a line is printed whenever something new is worth one.
    Interrupting it leaves the job alone, and calling it again goes on where the job then is.

    Raises:
        NotFoundError: There is no job of this id.
        APIError: The service stayed away for longer than a short outage.
    """
    progress = Progress()
    if console.is_terminal:
        with Live(progress, console=console, refresh_per_second=8) as live:
            try:
                for job, steps in followed(client, job_id, poll_interval):
                    progress.take(job, steps)
            finally:
                live.transient = progress.job is None  # nothing was seen: the error alone is left
    else:
        lines = Lines()
        for job, steps in followed(client, job_id, poll_interval):
            progress.take(job, steps)
            if (line := lines.next(progress)) is not None:
                console.print(Text(line), soft_wrap=True)
    assert progress.job is not None  # a watch begins with the job's state
    return progress.job


class Progress:
    """What has been seen of a job, drawable by rich."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.job: TuningJob | None = None
        self.steps: dict[int, StepMetric] = {}
        self._now = now
        self._spinner = Spinner("dots")

    def take(self, job: TuningJob, steps: Sequence[StepMetric]) -> None:
        """Take over the job's state and the steps since the last one."""
        self.job = job
        if steps:
            # A later attempt begins before steps already seen: those are void.
            self.steps = {number: step for number, step in self.steps.items() if number < steps[0].step}
            self.steps.update((step.step, step) for step in steps)

    @property
    def last(self) -> StepMetric | None:
        """The newest step."""
        return self.steps[max(self.steps)] if self.steps else None

    @property
    def losses(self) -> list[float]:
        """The loss of each step, as far as it is a number."""
        losses = (self.steps[number].loss for number in sorted(self.steps))
        return [loss for loss in losses if loss is not None and math.isfinite(loss)]

    @property
    def eval_loss(self) -> float | None:
        """What the last evaluation gave: of a step, or where none was evaluated, of an epoch."""
        evaluated = (self.steps[number].eval_loss for number in sorted(self.steps, reverse=True))
        metrics = self.job.metrics if self.job else None
        return next((loss for loss in evaluated if loss is not None), metrics.eval_loss if metrics else None)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        metrics = self.job.metrics if self.job else None
        return min(1.0, max(0.0, (metrics.progress if metrics else None) or 0.0))

    @property
    def headline(self) -> str:
        """The status and what happens inside it."""
        if self.job is None:
            return "connecting"
        words = [self.job.status]
        if not self.job.ended:
            if self.job.phase and self.job.phase != self.job.status:
                words.append(self.job.phase)
            if self.job.phase_detail:
                words.append(self.job.phase_detail)
            if self.job.queue and self.job.queue.position:
                words.append(f"position {self.job.queue.position}")
                if start := self.job.queue.estimated_start:
                    words.append(f"starts in about {duration(start - self._now())}")
            if (self.job.attempt or 1) > 1:
                words.append(f"attempt {self.job.attempt}")
        return " · ".join(words)

    @property
    def figures(self) -> list[str]:
        """What is reached and what is left, as far as they are known."""
        return [*self.reached, *self.pace]

    @property
    def reached(self) -> list[str]:
        """Epoch, step and losses."""
        metrics = self.job.metrics if self.job else None
        last = self.last
        figures = []
        total_epochs = metrics.total_epochs if metrics else None
        if last and last.epoch is not None:
            figures.append(f"epoch {last.epoch:.2f}" + (f"/{total_epochs}" if total_epochs else ""))
        elif metrics and metrics.current_epoch is not None:
            figures.append(f"epoch {metrics.current_epoch}" + (f"/{total_epochs}" if total_epochs else ""))
        step = last.step if last else metrics.step if metrics else None
        total = (metrics.total_steps if metrics else None) or (last.get("total_steps") if last else None)
        if step is not None:
            figures.append(f"step {step}" + (f"/{total}" if total else ""))
        loss = last.loss if last else metrics.train_loss if metrics else None
        if loss is not None:
            figures.append(f"loss {loss:.4g}")
        if (evaluated := self.eval_loss) is not None:
            figures.append(f"eval loss {evaluated:.4g}")
        return figures

    @property
    def pace(self) -> list[str]:
        """Speed and time left, while it trains."""
        last, figures = self.last, list[str]()
        if last is None or self.job is None or self.job.ended or self.job.phase not in {"training", None}:
            return figures
        if last.tokens_per_second is not None:
            figures.append(f"{last.tokens_per_second:.0f} tokens/s")
        if last.seconds_left is not None:
            figures.append(f"{duration(last.seconds_left)} left")
        return figures

    @property
    def elapsed(self) -> float:
        """Seconds since the job was created, until it ended."""
        if self.job is None:
            return 0.0
        return max(0.0, (self.job.finished_at or self._now()) - self.job.created_at)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        job = self.job
        # A line that is broken when a figure grows moves all below it: on a narrow console they are shorter.
        narrow = options.max_width < WIDE
        head = Table.grid(padding=(0, 1))
        mark: RenderableType = self._spinner
        if job is not None and job.ended:
            sign = {"succeeded": "✓", "cancelled": "–"}.get(job.status, "✗")
            mark = Text(sign if _has_unicode(console) else "*", style=COLOURS.get(job.status, ""))
        style = COLOURS.get(job.status, "bold") if job else "bold"
        name = f"{job.id}  {job.model}" if job else ""
        clock = duration(self.elapsed)
        told = [Text(self.headline, style=style), *([] if narrow else [Text(name, style="dim")])]
        head.add_row(mark, *told, Text(clock, style="dim"))
        parts: list[RenderableType] = [head]
        if narrow and name:
            parts.append(Text(f"  {name}", style="dim"))
        if self.figures:
            row = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=1.0, completed=self.share, width=min(24, max(8, options.max_width // 5)))
            beside = self.pace if narrow else self.figures
            row.add_row(Text(" "), bar, Text(f"{self.share:4.0%}"), Text("  ".join(beside)))
            parts.append(row)
            if narrow:
                parts.append(Text("  " + "  ".join(self.reached)))
        width = min(64, options.max_width - 12)
        curve = loss_curve(self.losses, width, CURVE_HEIGHT, braille=_has_unicode(console))
        parts += [Text("  " + line, style="cyan", no_wrap=True) for line in curve]
        if job is not None and job.error is not None:
            parts.append(Text(f"  {job.error.code or 'failed'}: {job.error.message}", style="red"))
        yield Group(*parts)


class Lines:
    """Which moments of a job are worth a line in a log."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._headline: str | None = None
        self._epoch = 0
        self._printed_at = -math.inf

    def next(self, progress: Progress) -> str | None:
        """A line about the present state, or None when the last line still says enough."""
        job, metrics = progress.job, progress.job.metrics if progress.job else None
        epoch = (metrics.current_epoch if metrics else None) or 0
        words = progress.headline.split(" · ")
        moving = job.phase_detail if job else None
        headline = " · ".join(word for word in words if not word.startswith("starts in") and word != moving)
        due = self._now() - self._printed_at >= SECONDS_BETWEEN_LINES
        if headline == self._headline and epoch == self._epoch and not due:
            return None
        self._headline, self._epoch, self._printed_at = headline, epoch, self._now()
        parts = [f"[{duration(progress.elapsed)}]", progress.headline]
        if progress.figures:
            parts += [f"{progress.share:.0%}", *progress.figures]
        if job is not None and job.error is not None:
            parts.append(f"{job.error.code or 'failed'}: {job.error.message}")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as `1:02:03`, or `2:03` below an hour."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _has_unicode(console: Console) -> bool:
    return "utf" in console.encoding.lower()
