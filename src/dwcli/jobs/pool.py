"""Threads for network work: tasks in, results out, and an end within a moment.

Daemon threads on a queue, not concurrent.futures: its threads are joined at exit, so one blocked read would hold
Ctrl-C for ever.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Result = TypeVar("Result")
_WAIT = 0.3  # seconds that a run which ends early gives its threads, all together, to tidy up
_WAIT_FOR_ROOM = 0.002
_MOMENT = 0.02  # seconds that results may gather: to wake up for each one keeps the threads from their work


class Pool(Generic[Result]):
    """Runs tasks in up to `jobs` threads. A task is a callable; it emits results and may add further tasks.

    At most `backlog` results wait to be taken; then the tasks wait. `abort` is called when the run ends early (Ctrl-C,
    an error, a caller who stops listening), to wake blocked threads.
    """

    def __init__(self, jobs: int, *, abort: Callable[[], None], backlog: int = 1000) -> None:
        self._jobs = jobs
        self._allowed = jobs
        self._abort = abort
        self._ready: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._running = 0
        self._halted = False
        self._abandoned = False
        self._throttled = 0
        self._exhausted = False
        self._pulling = False
        self._backlog = backlog
        self._results: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
        self._due = threading.Event()  # what waits should not gather any longer

    def add(self, task: Callable[[], None]) -> None:
        """One more task; added ones go before those still in the seeds, so that little is planned far ahead."""
        with self._changed:
            self._ready.append(task)
            self._changed.notify()

    def emit(self, result: Result) -> None:
        """Hand out one result. Called by tasks."""
        self._put("result", result)

    def halt(self) -> None:
        """Start no further task; those that run may finish."""
        with self._changed:
            self._halted = True
            self._changed.notify_all()

    def ease(self, throttled: int) -> None:
        """Work with half the threads from now on where `throttled`, how often the server said that it is too much (429,
        503), has grown."""
        with self._changed:
            if throttled > self._throttled:
                self._throttled = throttled
                self._allowed = max(1, self._allowed // 2)

    def run(self, seeds: Iterable[Callable[[], None]]) -> Iterator[Result]:
        """The results of all tasks, as they come. Raises what a task or the seeds raised, after aborting the others."""
        self._seeds = iter(seeds)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._jobs)]
        for thread in threads:
            thread.start()
        done = 0
        finished = False
        try:
            while done < len(threads):
                if self._results.empty():
                    self._due.wait(_MOMENT)
                self._due.clear()
                kind, value = self._results.get()
                match kind:
                    case "result":
                        yield value  # type: ignore[misc]  # tasks emit only Result
                    case "end":
                        done += 1
                    case _:
                        assert isinstance(value, BaseException)
                        raise value
            finished = True
        except KeyboardInterrupt:
            # Report what was done until now even so.
            finished = True
            yield from self._end(threads)
            raise
        finally:
            if not finished:
                self._end(threads)

    def _end(self, threads: list[threading.Thread]) -> list[Result]:
        """Stop, with a moment to remove partial files; yield the results not taken yet.

        A thread that connects won't end in it.
        """
        self.halt()
        left: list[Result] = []
        with suppress(queue.Empty):
            while True:
                kind, value = self._results.get_nowait()
                if kind == "result":
                    left.append(value)  # type: ignore[arg-type]  # tasks emit only Result
        # What tasks say from here on is only that they were stopped.
        self._abandoned = True
        self._abort()
        deadline = time.monotonic() + _WAIT
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return left

    def _work(self) -> None:
        try:
            while (task := self._next()) is not None:
                try:
                    task()
                finally:
                    with self._changed:
                        self._running -= 1
                        self._changed.notify_all()
        except BaseException as error:
            self._put("error", error)
        self._put("end", None)

    def _next(self) -> Callable[[], None] | None:
        """The next task, waiting while others may still add some; None when nothing can come any more."""
        with self._changed:
            while True:
                if self._halted:
                    return None
                if self._running < self._allowed:
                    if self._ready:
                        self._running += 1
                        return self._ready.popleft()
                    if not self._exhausted and not self._pulling:
                        self._pulling = True
                        break
                if self._exhausted and not self._ready and not self._running:
                    self._changed.notify_all()
                    return None
                self._changed.wait()
        return self._pull()

    def _pull(self) -> Callable[[], None] | None:
        """One task from the seeds, which may ask the network; only one thread does so at a time."""
        try:
            task = next(self._seeds, None)
        except BaseException:
            with self._changed:
                self._pulling, self._exhausted = False, True
            self.halt()
            raise
        with self._changed:
            self._pulling = False
            if task is None:
                self._exhausted = True
            else:
                self._running += 1
            self._changed.notify_all()
        return task if task is not None else self._next()

    def _put(self, kind: str, value: object) -> None:
        # Bounded, so that a slow reader of results slows the work down instead of filling the memory.
        while self._results.qsize() >= self._backlog and not self._abandoned:
            self._due.set()
            time.sleep(_WAIT_FOR_ROOM)
        if not self._abandoned:
            self._results.put((kind, value))
            if kind != "result":
                self._due.set()
