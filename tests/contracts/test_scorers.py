"""What every scorer promises. A scorer that is added is found, and must keep it too."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from river import checks

from analyzers.anomaly.habits import Habits
from analyzers.anomaly.scorers.registry import make_scorer, scorer_types
from analyzers.anomaly.scorers.scorer import TIME
from analyzers.anomaly.settings import AnomalySettings
from analyzers.metrics import MetricSet

NAMES = sorted(scorer_types())
MINUTE = 60_000_000
METRICS = MetricSet.load()
#: Checks of River's that call ``predict_one``, which its detectors over ``y`` lack: GaussianScorer fails them too.
PREDICT = {
    "check_pickling",
    "check_shuffle_features_no_impact",
    "check_emerging_features",
    "check_disappearing_features",
    "check_radically_disappearing_features",
}


def stream(seed: int, count: int) -> list[tuple[dict[str, int], float]]:
    """Return minutes of a metric with a daily rhythm, noise, a gap and some peaks."""
    chance = random.Random(seed)
    found = []
    for minute in range(count):
        time = (minute + (5_000 if minute > count // 2 else 0)) * MINUTE
        level = 100 + 40 * math.sin(2 * math.pi * minute / 1_440)
        found.append(({TIME: time}, level + chance.gauss(0, 5) + (400 if chance.random() < 0.004 else 0)))
    return found


@pytest.mark.parametrize("name", NAMES)
class TestEveryScorer:
    def test_it_passes_rivers_own_checks(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        # River has no data set for detectors over ``y``; this is ours.
        monkeypatch.setattr(checks, "_yield_datasets", lambda model, scale=1: iter([stream(5, 300 * min(scale, 3))]))
        done = []
        for check in checks.yield_checks(make_scorer(name)):
            if check.__name__ not in PREDICT:
                check(make_scorer(name))
                done.append(check.__name__)
        assert {"check_repr_roundtrips_clone", "check_learn_one", "check_bounded_memory_growth"} <= set(done)

    def test_a_restart_midway_gives_the_same_scores(self, name: str) -> None:
        going, scores = make_scorer(name), []
        rows = stream(1, 900)
        for x, y in rows:
            scores.append(going.score_one(x, y))
            going.learn_one(x, y)
        for stop in (0, 1, 7, 120, 500):
            first = make_scorer(name)
            for x, y in rows[:stop]:
                first.learn_one(x, y)
            second = scorer_types()[name].restore(first.snapshot())
            again = []
            for x, y in rows[stop:]:
                again.append(second.score_one(x, y))
                second.learn_one(x, y)
            assert again == scores[stop:], f"stopped after {stop}"
        assert max(scores) > 0, "nothing was scored, so nothing was compared"

    def test_scores_are_between_0_and_1_and_scoring_teaches_nothing(self, name: str) -> None:
        scorer = make_scorer(name)
        for x, y in stream(2, 600):
            before = scorer.snapshot()
            score = scorer.score_one(x, y)
            assert 0.0 <= score <= 1.0
            assert scorer.score_one(x, y * 3) == scorer.score_one(x, y * 3)
            assert scorer.score_one(x, y) == score and scorer.snapshot() == before
            scorer.learn_one(x, y)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
    def test_a_value_that_is_no_number_scores_0_and_is_not_learned(self, name: str, value: float) -> None:
        scorer = make_scorer(name)
        rows = stream(3, 400)
        for x, y in rows:
            scorer.learn_one(x, y)
        before = scorer.snapshot()
        assert scorer.score_one(rows[-1][0], value) == 0.0
        scorer.learn_one(rows[-1][0], value)
        assert scorer.snapshot() == before

    def test_wild_values_leave_it_small_and_able_to_score(self, name: str) -> None:
        scorer = make_scorer(name)
        chance = random.Random(4)
        for minute in range(700):
            value = chance.choice([0.0, 1.0, -1.0, 1e-300, 1e17, -1e17, 1e9, chance.gauss(0, 1)])
            score = scorer.score_one({TIME: minute * MINUTE}, value)
            assert 0.0 <= score <= 1.0
            scorer.learn_one({TIME: minute * MINUTE}, value)
        state = scorer.snapshot()
        assert len(state) <= scorer.LIMIT
        assert scorer_types()[name].restore(state).snapshot() == state

    def test_a_metric_that_never_changed_and_then_does_is_scored_without_error(self, name: str) -> None:
        scorer = make_scorer(name)
        for minute in range(600):
            assert scorer.score_one({TIME: minute * MINUTE}, 7.0) < scorer.ALARM
            scorer.learn_one({TIME: minute * MINUTE}, 7.0)
        assert 0.0 <= scorer.score_one({TIME: 600 * MINUTE}, 8.0) <= 1.0

    def test_times_are_not_needed(self, name: str) -> None:
        scorer = make_scorer(name)
        for _, y in stream(5, 300):
            assert 0.0 <= scorer.score_one(None, y) <= 1.0
            scorer.learn_one(None, y)

    def test_a_snapshot_that_is_cut_or_anothers_is_refused(self, name: str) -> None:
        scorer = make_scorer(name)
        for x, y in stream(6, 300):
            scorer.learn_one(x, y)
        state = scorer.snapshot()
        for bad in (b"", state[:10], state[:-1], state + b"\0", b"XXXX" + state[4:], state[:12] + b"\xff" + state[13:]):
            with pytest.raises(ValueError, match=name):
                scorer_types()[name].restore(bad)
        for other in NAMES:
            if other != name:
                with pytest.raises(ValueError, match=other):
                    scorer_types()[other].restore(state)


@pytest.mark.parametrize("name", NAMES)
class TestEveryScorerInTheFlow:
    """As chosen for a metric by ``anomaly.scorers``."""

    def windows(self, count: int) -> list[dict[int, float]]:
        chance = random.Random(7)
        return [{0: float(chance.randint(200, 260)), 1: float(chance.randint(0, 3))} for _ in range(count)]

    def test_a_restart_midway_gives_the_same_scores_and_anomalies(self, name: str) -> None:
        settings = AnomalySettings(warm_hours=0, least=2, scorers={METRICS.names[0]: name})
        moved = {index: index for index in range(len(METRICS.names))}
        windows = [*self.windows(620), {0: 9_000.0, 1: 2.0}, {0: 230.0, 1: 1.0}, {0: 11_000.0}]
        whole = Habits("web-1", METRICS, settings)
        expected = [whole.judge(minute * MINUTE, values) for minute, values in enumerate(windows)]
        for stop in (1, 300, 621):
            habits = Habits("web-1", METRICS, settings)
            found = []
            for minute, values in enumerate(windows):
                if minute == stop:
                    habits = Habits.restore("web-1", METRICS, settings, habits.snapshot(), moved)
                found.append(habits.judge(minute * MINUTE, values))
            assert found == expected, f"stopped after {stop}"

    def test_a_peak_forty_times_what_is_usual_is_told_with_its_band(self, name: str) -> None:
        habits = Habits("web-1", METRICS, AnomalySettings(least=2.5, scorers={METRICS.names[0]: name}))
        for minute, values in enumerate(self.windows(620)):
            assert habits.judge(minute * MINUTE, values).unusual is None
        found = habits.judge(620 * MINUTE, {0: 9_000.0, 1: 2.0}).unusual
        assert found is not None
        lead = found.readings[0]
        assert (lead.metric, lead.side) == (METRICS.names[0], "peak")
        assert 120 < lead.low < 230 < lead.high < 350

    def test_another_choice_after_a_restart_begins_anew_and_leaves_the_rest_as_it_was(self, name: str) -> None:
        before = AnomalySettings(scorers={METRICS.names[0]: name})
        other = AnomalySettings(scorers={METRICS.names[0]: next(one for one in NAMES if one != name)})
        moved = {index: index for index in range(len(METRICS.names))}
        habits, same = Habits("web-1", METRICS, before), Habits("web-1", METRICS, before)
        for minute, values in enumerate(self.windows(300)):
            habits.judge(minute * MINUTE, values)
            same.judge(minute * MINUTE, values)
        habits = Habits.restore("web-1", METRICS, other, habits.snapshot(), moved)
        found, kept = (one.judge(300 * MINUTE, {0: 230.0, 1: 2.0}).scores for one in (habits, same))
        assert found[1] == kept[1] >= 0.0


def test_a_misspelt_scorer_or_setting_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no scorer 'rihc'; known: .*rich"):
        make_scorer("rihc")
    with pytest.raises(ValueError, match=r"no setting 'sede'; known: .*seed"):
        make_scorer("rich", sede=1)


def test_the_own_scorers_do_not_bring_rivers_slow_modules() -> None:
    """A worker imports them at its start, for which all wait after a crash; ``river.anomaly`` takes 1.9 s."""
    code = (
        "import sys\n"
        "from analyzers.anomaly.scorers.registry import make_scorer\n"
        "make_scorer('rich'), make_scorer('light')\n"
        "print([m for m in ('river.anomaly', 'scipy.stats', 'sklearn') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
