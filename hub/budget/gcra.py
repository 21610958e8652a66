"""The generic cell rate algorithm (ITU-T I.371, annex A): rate and burst from a single number a key. Pure; it has no clock.

The number is the theoretical arrival time: when the next request would come if all came evenly spaced. Integers of any one unit of
time (the hub uses nanoseconds), so that the waits given are exact.
"""


def admit(tat: int, now: int, interval: int, burst: int) -> tuple[int, int]:
    """Admit one request at `now`, or say how long to wait: `(new tat, 0)`, or `(tat, wait)` with `wait` > 0 when refused.

    `interval` is the time between evenly spaced requests, `burst` how many may come at once after silence. In any window of length t
    at most `burst + t // interval` are admitted, and a request repeated after exactly `wait` is admitted if none came between.

    A `tat` further ahead than a whole burst cannot come of this rule: the rule was another one, or the clock was set back. It is taken for
    a burst that is used up, so that nobody waits longer than `interval`; the new `tat`, which a refusal returns as well, must be kept.
    """
    wait = tat - (burst - 1) * interval - now
    if wait > interval:
        return now + burst * interval, interval
    if wait > 0:
        return tat, wait
    return (now if now > tat else tat) + interval, 0
