"""``winnow rules backtest``: what a change of rules would add and remove."""

from __future__ import annotations

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import orjson

from analyzers.rules import RuleSet
from analyzers.rules.backtest import Backtest, Cost, Counts, Tally, costs
from analyzers.rules.documents import Changes, Document, Documents, differences, read
from analyzers.rules.explanation import shown
from analyzers.rules.loading import load as load_compiled
from flows.commands.rules.telemetry import Recording, decoder, require_files
from flows.settings import load_settings
from flows.usage import UsageError
from operators.formats import UNDECODED, fields

#: Rules of each sort that the table lists.
MAX_LISTED = 50
#: Rules that the table lists as costliest.
MAX_COSTLY = 10
HOW = (
    "the full condition, timed on a uniform sample of {events:,} events after their fields were read, without the "
    "prefilter that spares most decisions: an upper bound"
)


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "backtest",
        help="say what a change of rules would add and remove",
        description="Match two versions of rules against recorded telemetry and say what the change adds and removes. "
        "Exit status 1 if a rule that was in force no longer is, or an event could not be judged.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file of lines; .gz and .zst are unpacked")
    parser.add_argument("--rules", type=Path, required=True, metavar="DIR", help="the rules after the change")
    parser.add_argument("--baseline", type=Path, required=True, metavar="DIR", help="the rules before the change")
    parser.add_argument("--format", default="auto", metavar="F", help="format of all files (default: sniffed)")
    parser.add_argument(
        "--samples",
        type=int,
        default=3,
        metavar="N",
        help="matches quoted for each rule, added and removed (default 3)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the comparison; return the exit status."""
    if not 0 <= args.samples <= 1_000:
        raise UsageError("--samples must be 0 to 1,000")
    settings = load_settings(args.config)
    require_files(args.files)
    decoder("", settings, args.format)
    try:
        old, new = read([args.baseline]), read([args.rules])
        compiled = load_compiled([args.rules], settings.rules.placeholders, settings.rules.cache_folder)
        before = RuleSet.load(
            [args.baseline], placeholders=settings.rules.placeholders, cache=settings.rules.cache_folder
        )
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    after = RuleSet.of(compiled.compiled, compiled.problems, compiled.version, compiled.correlations)
    for rules, folder in ((after, args.rules), (before, args.baseline)):
        if not rules.rules:
            raise UsageError(f"{folder}: no rule in force")
    changes = differences(old, new)
    same = _same(old, new, changes, before, after)
    print(
        f"{len(same):,} rules match the same in both; {len(before.rules) - len(same):,} are compared", file=sys.stderr
    )
    if after.correlations or before.correlations:
        print("correlations are not compared: winnow replay counts events over time", file=sys.stderr)
    test = Backtest(after, _rest(before, same, old, settings.rules.placeholders), same, args.samples)
    recordings = [Recording(name, settings, args.format) for name in args.files]
    for recording in recordings:
        for events in recording.batches():
            test.add(recording.name, events, fields, UNDECODED)
        print(recording.summary(f"{test.totals.added:,} added, {test.totals.removed:,} removed"), file=sys.stderr)
    lost = {each.id for each in (*before.rules, *(c.rule for c in before.correlations))} & {
        problem.id for problem in after.problems
    }
    report = _Report(args, test, changes, old.filters != new.filters, before, after, recordings)
    report.costs = costs(compiled.compiled, test.timed, fields)
    if args.json:
        sys.stdout.write(orjson.dumps(report.data(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        report.print()
    if test.failures:
        print(f"winnow: {test.failures:,} events could not be judged", file=sys.stderr)
    return 1 if lost or test.failures else 0


def _same(old: Documents, new: Documents, changes: Changes, before: RuleSet, after: RuleSet) -> frozenset[str]:
    """Return the ids of the rules in force in both that match the same events.

    Where filters differ or an id stands twice, which rule is in force and what it matches is left to the engine.
    """
    if old.filters != new.filters or old.repeated or new.repeated:
        return frozenset()
    moved = {rule.key for rule in (*changes.new, *changes.removed, *changes.changed)}
    return frozenset({r.id for r in before.rules} & {r.id for r in after.rules} & (new.rules.keys() - moved))


def _rest(before: RuleSet, same: frozenset[str], old: Documents, placeholders: dict[str, list[str]]) -> RuleSet:
    """Return the baseline's rules that must be asked too: what the others match, the new set says."""
    if not same:
        return before
    files = dict.fromkeys([*(rule.path for rule in before.rules if rule.id not in same), *old.filter_paths])
    return RuleSet.load([Path(file) for file in files], placeholders=placeholders)


class _Report:
    """What was found, as text and as JSON."""

    def __init__(
        self,
        args: argparse.Namespace,
        test: Backtest,
        changes: Changes,
        filters_changed: bool,
        before: RuleSet,
        after: RuleSet,
        recordings: list[Recording],
    ) -> None:
        self.args, self.test, self.changes, self.filters_changed = args, test, changes, filters_changed
        self.before, self.after, self.recordings = before, after, recordings
        self.costs: dict[str, Cost] = {}
        self.how = HOW.format(events=len(test.timed))
        #: What became of each rule that is not the same.
        self.fates = {
            rule.key: fate
            for fate, rules in (
                ("new", changes.new),
                ("removed", changes.removed),
                ("changed", changes.changed),
                ("reworded", changes.reworded),
            )
            for rule in rules
        }

    def data(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        changes = self.changes
        return {
            "rules": {"path": str(self.args.rules), **_set(self.after)},
            "baseline": {"path": str(self.args.baseline), **_set(self.before)},
            "changes": {
                **{name: [_document(d) for d in getattr(changes, name)] for name in _FATES},
                "unchanged": changes.unchanged,
                "filters_changed": self.filters_changed,
            },
            "files": [
                {"file": r.name, "lines": r.lines, "events": r.events, "rejected": dict(r.rejected)}
                for r in self.recordings
            ],
            "events": self.test.events,
            "not_judged": self.test.failures,
            "matches": msgspec.to_builtins(self.test.totals),
            "by_day": _days(self.test.days),
            "by_rule": [
                {
                    "id": tally.rule.id,
                    "title": tally.rule.title,
                    "level": tally.rule.level.name,
                    "fate": self.fates.get(tally.rule.id, "unchanged"),
                    **msgspec.to_builtins(tally.counts),
                    "by_day": _days(tally.days),
                    "samples": msgspec.to_builtins(tally.samples),
                }
                for tally in self._sorted()
            ],
            "cost": {
                "how": self.how,
                "by_rule": {
                    rule: {
                        "us_per_event_of_its_log_source": round(cost.concerned, 3),
                        "events_of_its_log_source": cost.events,
                        "us_per_event": round(cost.overall, 4),
                    }
                    for rule, cost in self.costs.items()
                },
            },
        }

    def _sorted(self) -> list[Tally]:
        return sorted(
            self.test.tallies.values(),
            key=lambda t: (-(t.counts.added + t.counts.removed), -t.counts.kept, t.rule.title),
        )

    def print(self) -> None:
        """Print the report."""
        test, changes = self.test, self.changes
        for name, rules, folder in (
            ("baseline", self.before, self.args.baseline),
            ("rules", self.after, self.args.rules),
        ):
            print(f"{name:<10}{len(rules.rules):>7,} in force, {len(rules.problems):,} not: {folder}")
        print(
            f"changes   {len(changes.new):>7,} new, {len(changes.removed):,} removed, "
            f"{len(changes.changed):,} changed, {len(changes.reworded):,} reworded, {changes.unchanged:,} unchanged"
            f"{'; filters changed' if self.filters_changed else ''}"
        )
        print(f"events    {test.events:>7,}")
        print(f"matches   {test.totals.added:>+7,} added, {-test.totals.removed:,} removed, {test.totals.kept:,} kept")
        for name in _FATES:
            self._list(name, getattr(changes, name))
        self._print_rules()
        self._print_days()
        self._print_costs()

    def _list(self, name: str, documents: tuple[Document, ...]) -> None:
        if documents:
            print(f"\nRules {name}:")
        for each in documents[:MAX_LISTED]:
            print(f"  {shown(each.title or each.key)} ({shown(each.key)})")
        if len(documents) > MAX_LISTED:
            print(f"  … {len(documents) - MAX_LISTED:,} more (--json has all)")

    def _print_rules(self) -> None:
        touched = [tally for tally in self._sorted() if tally.counts.added or tally.counts.removed]
        if not touched:
            print("\nNo match is added or removed.")
            return
        print("\nMatches by rule (added, removed, kept, µs an event of its log source):")
        for tally in touched[:MAX_LISTED]:
            cost = self.costs.get(tally.rule.id)
            counts = tally.counts
            spent = f"{cost.concerned:>7.2f}" if cost else f"{'-':>7}"
            fate = self.fates.get(tally.rule.id, "unchanged")
            print(
                f"{counts.added:>+8,} {-counts.removed:>8,} {counts.kept:>8,} {spent}  "
                f"{shown(tally.rule.title)} ({tally.rule.id}), {fate}"
            )
            for sample in tally.samples:
                print(f"{'+' if sample.verdict == 'added' else '-':>10} {sample.place}: {sample.reason}")
        if len(touched) > MAX_LISTED:
            print(f"  … {len(touched) - MAX_LISTED:,} more rules (--json has all)")

    def _print_days(self) -> None:
        print("\nMatches by day of event time (added, removed, kept):")
        for day, counts in sorted(self.test.days.items()):
            print(f"  {_day(day)} {counts.added:>+8,} {-counts.removed:>8,} {counts.kept:>8,}")

    def _print_costs(self) -> None:
        named = {rule.id: rule.title for rule in self.after.rules}
        costly = sorted(self.costs.items(), key=lambda item: -item[1].overall)[:MAX_COSTLY]
        whole = sum(cost.overall for cost in self.costs.values())
        print(f"\nCost: {whole:.1f} µs an event in all ({self.how}).")
        print("Costliest (µs an event, µs an event of its log source):")
        for rule, cost in costly:
            fate = f", {self.fates[rule]}" if rule in self.fates else ""
            print(f"{cost.overall:>8.3f} {cost.concerned:>8.2f}  {shown(named[rule])} ({rule}){fate}")


_FATES = ("new", "removed", "changed", "reworded")


def _set(rules: RuleSet) -> dict[str, Any]:
    return {
        "version": rules.version,
        "in_force": len(rules.rules),
        "problems": [{"path": p.path, "id": p.id, "title": p.title, "reason": p.reason} for p in rules.problems],
    }


def _document(document: Document) -> dict[str, str]:
    return {"id": document.key, "title": document.title, "path": document.path}


def _days(days: dict[int, Counts]) -> dict[str, Any]:
    return {_day(day): msgspec.to_builtins(counts) for day, counts in sorted(days.items())}


def _day(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()
