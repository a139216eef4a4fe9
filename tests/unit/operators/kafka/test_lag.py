from operators.kafka.lag import GROWING, RATE, Lag


def read(lag: Lag, rate: int, ends: list[int]) -> list[tuple[float, bool]]:
    """Read ``rate`` messages a second; the end, as heard of each ``RATE`` seconds."""
    return [lag.measure(turn * RATE, int(turn * RATE * rate), end) for turn, end in enumerate(ends)]


def test_a_lag_is_what_waits_at_the_rate_of_late() -> None:
    told = read(Lag(), 1_000, [20_000, 20_000])
    assert told == [(0.0, False), (15.0, False)]


def test_a_heap_sent_at_once_does_not_grow_and_ever_more_unread_does() -> None:
    heap = read(Lag(), 1_000, [100_000] * 8)
    assert all(not growing for _, growing in heap)
    ever_more = read(Lag(), 1_000, [turn * 20_000 for turn in range(8)])
    assert [growing for _, growing in ever_more] == [False] * GROWING + [True] * (8 - GROWING)


def test_an_end_that_was_not_heard_of_anew_says_nothing_against_growing() -> None:
    # One fetch may be read for half a minute: the end stands still meanwhile.
    ends = [0, 20_000, 20_000, 60_000, 60_000, 60_000, 120_000]
    assert [growing for _, growing in read(Lag(), 1_000, ends)][-1]


def test_what_grew_and_shrinks_no_longer_grows() -> None:
    ends = [turn * 20_000 for turn in range(6)]
    told = read(Lag(), 1_000, [*ends, 101_000])
    assert told[-2][1] and not told[-1][1]


def test_waiting_for_others_is_no_slow_reading() -> None:
    lag = Lag()
    read(lag, 1_000, [20_000, 20_000])
    lag.pause()
    assert lag.measure(1_000.0, 10_000, 20_000) == (10.0, False)
    assert lag.measure(1_000.0 + RATE, 10_000 + int(RATE) * 1_000, 20_000)[0] == 5.0


def test_a_topic_made_anew_is_measured_anew() -> None:
    lag = Lag()
    read(lag, 1_000, [turn * 20_000 for turn in range(8)])
    assert lag.measure(100.0, 0, 50)[1] is False
