"""The pool: results as they come, tasks that add tasks, errors and an early end within a moment."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dwcli.jobs.pool import Pool
from servers.machine import Clock


def _pool(jobs: int = 3, abort: Callable[[], None] = lambda: None) -> Pool[int]:
    return Pool(jobs, abort=abort)


def test_every_task_of_the_seeds_and_of_tasks_is_run_once() -> None:
    pool = _pool()

    def task(n: int) -> None:
        pool.emit(n)
        if n < 100:
            pool.add(lambda: task(n + 100))
            pool.add(lambda: task(n + 200))

    found = list(pool.run(lambda n=n: task(n) for n in range(50)))  # type: ignore[misc]
    assert sorted(found) == sorted([*range(50), *range(100, 150), *range(200, 250)])


def test_no_task_is_no_result() -> None:
    assert list(_pool().run([])) == []


def test_no_more_threads_than_jobs_work_at_once_and_fewer_after_ease() -> None:
    pool = _pool(4)
    lock, now, most = threading.Lock(), 0, [0]
    # At first four must meet to go on; then, when the four that had begun have ended, two.
    meetings = {n: threading.Barrier(4) for n in range(0, 12, 4)} | {n: threading.Barrier(2) for n in range(20, 60, 2)}

    def task(n: int) -> None:
        nonlocal now
        with lock:
            now += 1
            most[0] = max(most[0], now)
        if n < 12:
            meetings[n - n % 4].wait(60)
        elif n < 16:
            eased.wait(60)
        elif n >= 20:
            meetings[n - n % 2].wait(60)
            time.sleep(0.002)  # long enough for a third to be seen
        with lock:
            now -= 1
            if n == 19:
                most[0] = 0
        pool.emit(n)

    eased = threading.Event()
    run = pool.run(lambda n=n: task(n) for n in range(60))  # type: ignore[misc]
    for _ in range(12):
        next(run)
    assert most[0] == 4
    pool.ease(1)
    pool.ease(1)  # the same news twice
    eased.set()
    assert len(list(run)) == 48
    assert most[0] == 2


def test_an_error_of_a_task_or_a_seed_is_raised_and_ends_the_others() -> None:
    aborted = threading.Event()
    pool = _pool(abort=aborted.set)

    def bad() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        list(pool.run([lambda: aborted.wait(60) and None, bad]))  # type: ignore[list-item]
    assert aborted.is_set()

    def seeds() -> Iterator[Callable[[], None]]:
        yield lambda: None
        raise KeyError("seed")

    with pytest.raises(KeyError):
        list(_pool().run(seeds()))


def test_halt_starts_no_further_task_but_lets_the_running_ones_finish() -> None:
    pool = _pool(1)
    ran: list[int] = []

    def task(n: int) -> None:
        if n == 2:
            pool.halt()
        ran.append(n)
        pool.emit(n)

    assert list(pool.run(lambda n=n: task(n) for n in range(10))) == [0, 1, 2]  # type: ignore[misc]
    assert ran == [0, 1, 2]


def test_seeds_are_pulled_as_they_are_needed() -> None:
    pulled: list[int] = []
    pool = _pool(2)
    gate = threading.Event()

    def seeds() -> Iterator[Callable[[], None]]:
        for n in range(100_000):
            pulled.append(n)
            yield lambda n=n: pool.emit(gate.wait(60) and n)  # type: ignore[misc]

    run = pool.run(seeds())
    starter = threading.Timer(0.1, gate.set)
    starter.start()
    next(run)
    run.close()  # type: ignore[attr-defined]
    starter.join()
    assert len(pulled) < 2000  # what the results may hold, and little more


def test_a_caller_who_stops_listening_is_free_within_a_moment() -> None:
    over = threading.Event()
    aborted: list[float] = []
    pool = _pool(8, abort=lambda: aborted.append(time.monotonic()))

    def stuck(n: int) -> None:
        pool.emit(n)
        over.wait(60)  # deaf to the abort

    run = pool.run(lambda n=n: stuck(n) for n in range(20))  # type: ignore[misc]
    next(run)
    clock = Clock()
    run.close()  # type: ignore[attr-defined]
    soon = clock.within(1.5)
    over.set()
    assert len(aborted) == 1
    assert soon, clock


def test_a_slow_reader_slows_the_work_down() -> None:
    pool = _pool(2)
    emitted = [0]

    def task() -> None:
        for n in range(5000):
            pool.emit(n)
            emitted[0] += 1

    run = pool.run([task])
    next(run)
    time.sleep(0.1)
    assert emitted[0] < 1500
    assert len(list(run)) == 4999
