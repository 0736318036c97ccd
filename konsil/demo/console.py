"""What the demo shows: numbered steps, what went over the wire, what became of it, and whether it was as expected."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console as Terminal
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


@dataclass
class Console:
    """Prints the story and keeps count of the assertions that held and those that did not."""

    terminal: Terminal = field(default_factory=lambda: Terminal(highlight=False))
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.perf_counter)

    def title(self, text: str, subtitle: str) -> None:
        """Print the head of the demo."""
        self.terminal.print()
        self.terminal.print(f"[bold cyan]{escape(text)}[/]  {escape(subtitle)}")
        self.terminal.print()

    def step(self, number: str, text: str) -> None:
        """Begin a numbered step."""
        elapsed = time.perf_counter() - self._began
        self.terminal.print()
        self.terminal.print(f"[dim]{elapsed:5.1f} s[/]  [bold cyan]{escape(number):>2}[/]  [bold]{escape(text)}[/]")

    def sent(self, protocol: str, text: str) -> None:
        """Tell what went out over the wire."""
        self.terminal.print(f"  [blue]→ {protocol:<6}[/] {escape(text)}", soft_wrap=True)

    def received(self, protocol: str, text: str) -> None:
        """Tell what came back."""
        self.terminal.print(f"  [magenta]← {protocol:<6}[/] {escape(text)}", soft_wrap=True)

    def became(self, text: str) -> None:
        """Tell what a message became."""
        self.terminal.print(f"    [dim]became[/] {escape(text)}", soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a remark."""
        self.terminal.print(f"    [dim]{escape(text)}[/]", soft_wrap=True)

    def check(self, text: str, holds: object, found: object = None) -> bool:
        """State an assertion and remember whether it held; ``found`` is shown when it did not."""
        if holds:
            self.passed += 1
            self.terminal.print(f"  [green]✓[/] {escape(text)}", soft_wrap=True)
            return True
        self.failed.append(text)
        shown = f"  [red](found {escape(str(found))})[/]" if found is not None else ""
        self.terminal.print(f"  [bold red]✗ {escape(text)}[/]{shown}", soft_wrap=True)
        return False

    @contextmanager
    def progress(self, text: str, total: int) -> Iterator["Bar"]:
        """Show a bar of ``total`` units while the block runs."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.terminal, transient=True) as progress:
            yield Bar(progress, progress.add_task(text, total=total))

    def timeline(self, rows: list[tuple[str, str, str]]) -> None:
        """Print the case's history: when, what, by whom."""
        table = Table(box=None, padding=(0, 2), show_edge=False)
        for heading in ("when", "what", "who"):
            table.add_column(heading, style="dim" if heading == "when" else None, overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.terminal.print(table)

    def summary(self) -> bool:
        """Print how many assertions held; True when all did."""
        elapsed = time.perf_counter() - self._began
        self.terminal.print()
        if self.failed:
            total = self.passed + len(self.failed)
            self.terminal.print(f"[bold red]{len(self.failed)} of {total} assertions failed[/] in {elapsed:.0f} s:")
            for text in self.failed:
                self.terminal.print(f"  [red]✗[/] {escape(text)}", soft_wrap=True)
            return False
        self.terminal.print(f"[bold green]All {self.passed} assertions held[/] in {elapsed:.0f} s.")
        return True


@dataclass
class Bar:
    """One progress bar."""

    progress: Progress
    task: TaskID

    def to(self, done: int, total: int | None = None) -> None:
        """Show ``done`` units; ``total`` replaces the total when it is known better."""
        self.progress.update(self.task, completed=done, total=total)
