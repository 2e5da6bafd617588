"""The benchmark's simulation on a small trace: everything ends, nothing is given twice, shares are fair."""

from __future__ import annotations

from benchmarks.planner_simulation import PLANNERS, fleet, simulate, trace


def test_a_small_trace_ends_whole_and_fair_share_is_fairer_than_fifo() -> None:
    jobs, slots = trace(600, 20, 8, seed=3), fleet(20)
    outcomes = {name: simulate(jobs, slots, name, tick=60.0) for name in PLANNERS}
    for one in outcomes.values():  # the simulation itself asserts that no slot is given twice, or too small
        assert set(one.ends) == set(one.waits) == {job.id for job in jobs}
        assert all(one.ends[job.id] >= job.arrival + job.seconds - 60 for job in jobs)
        assert one.utilisation <= 1
    assert outcomes["fair"].fairness > outcomes["fifo"].fairness
    assert outcomes["fair"].preemptions == 0
    assert outcomes["fair, preempting"].preemptions > 0
    urgent = [job.id for job in jobs if job.priority == 2]
    waited = {name: sum(one.waits[id] for id in urgent) for name, one in outcomes.items()}
    assert waited["fair, preempting"] < waited["fair"] < waited["fifo"]


def test_a_trace_is_the_same_each_time() -> None:
    assert trace(50, 10, 4, seed=3) == trace(50, 10, 4, seed=3) != trace(50, 10, 4, seed=4)
