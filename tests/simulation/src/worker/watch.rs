//! What is seen of a session after each turn of its worker, and whether it may be so: time that grows, ticks on
//! schedule, seats kept as long as they must.

use std::collections::BTreeMap;

use ringside_core::ids::PlayerId;
use ringside_worker::SessionReport;

use super::conditions::Condition;
use crate::checks::Checks;
use crate::scheduler::Micros;

/// How late a tick may be without a reason: the grid's width, and what a turn takes.
const LATENESS: Micros = 6_000;
/// How much later than its window's end a seat may be given up: what a turn takes, and the longest sleep.
const SEAT_LATENESS: Micros = 20_000;
/// After a stall or a pause, time until lateness counts again.
const GRACE: Micros = 150_000;

/// A turn of the worker, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct TurnSeen {
    /// When it began.
    pub begun: Micros,
    /// When it ended.
    pub ended: Micros,
    /// Whether everything due was done.
    pub complete: bool,
    /// Until when the worker stood still lately.
    pub stalled_until: Micros,
}

/// A session that is watched.
#[derive(Debug)]
pub struct Watch {
    period: Option<Micros>,
    /// Session time 0 was then, or up to a turn later.
    created: Micros,
    last: Option<SessionReport>,
    /// When the first tick was due, give or take the turn in which it came.
    first_tick: Option<Micros>,
    /// Since when players are away, at the earliest and at the latest.
    away: BTreeMap<PlayerId, (Micros, Micros)>,
    seat_window: Micros,
    /// Until when lateness has a reason.
    excused_until: Micros,
    before: Option<TurnSeen>,
}

impl Watch {
    /// A session that is created at `created`, of a game with so many ticks a second.
    pub fn new(created: Micros, tick_rate: u32, seat_window: Micros) -> Watch {
        Watch {
            period: (tick_rate > 0).then(|| 1_000_000 / Micros::from(tick_rate)),
            created,
            last: None,
            first_tick: None,
            away: BTreeMap::new(),
            seat_window,
            excused_until: 0,
            before: None,
        }
    }

    /// The session's tick when it was last seen.
    pub fn tick(&self) -> u64 {
        self.last.as_ref().map_or(0, |report| report.tick)
    }

    /// The session goes to another worker: everybody is away from now on.
    pub fn moved(&mut self, seen: TurnSeen) {
        let players = self.last.iter().flat_map(|report| &report.players);
        self.away = players.map(|player| (player.player.clone(), (seen.begun, seen.ended))).collect();
        self.excused_until = seen.ended + GRACE;
        self.before = None;
    }

    /// A player's stay is over, as the worker says.
    pub fn left(&mut self, player: &PlayerId, seen: TurnSeen, checks: &mut Checks<Condition>) {
        let Some((earliest, latest)) = self.away.remove(player) else { return };
        let window = self.seat_window;
        let too_early = seen.ended < earliest + window;
        let missed = self.before.filter(|before| before.complete && before.begun > latest + window + SEAT_LATENESS);
        let excused = seen.begun < self.excused_until || seen.begun <= seen.stalled_until + GRACE;
        checks.check(Condition::SeatWindow, !too_early && (missed.is_none() || excused), || {
            format!("{player} was away since {earliest}..{latest} µs and lost the seat at {} µs", seen.begun)
        });
    }

    /// What is known of the session after a turn.
    pub fn look(&mut self, report: SessionReport, seen: TurnSeen, checks: &mut Checks<Condition>) {
        if let Some(last) = &self.last {
            let grows = report.time_us >= last.time_us && report.tick >= last.tick && report.position >= last.position;
            checks.check(Condition::TimeGrows, grows, || {
                let was = (last.position, last.tick, last.time_us);
                format!("{}: {was:?} became {:?}", report.session, (report.position, report.tick, report.time_us))
            });
        }
        self.excuse(&report, seen);
        self.look_at_ticks(&report, seen, checks);
        self.look_at_seats(&report, seen, checks);
        self.last = Some(report);
        self.before = Some(seen);
    }

    fn excuse(&mut self, report: &SessionReport, seen: TurnSeen) {
        let skipped = self.last.as_ref().map_or(0, |last| last.usage.skipped);
        if report.pause.is_some() || report.usage.skipped != skipped {
            self.excused_until = seen.ended + GRACE;
        }
    }

    fn is_excused(&self, seen: TurnSeen) -> bool {
        seen.begun < self.excused_until || seen.begun <= seen.stalled_until + GRACE
    }

    fn look_at_ticks(&mut self, report: &SessionReport, seen: TurnSeen, checks: &mut Checks<Condition>) {
        let Some(period) = self.period else { return };
        let (tick, slipped) = (report.tick, report.usage.slipped_us);
        let last = self.last.as_ref().map_or((0, 0), |last| (last.tick, last.usage.slipped_us));
        let may_slip = slipped == last.1 || self.is_excused(seen);
        checks.check(Condition::OnSchedule, may_slip, || {
            format!("{}: {} µs slipped without a stall", report.session, slipped - last.1)
        });
        if self.first_tick.is_none() && last.0 == 0 && tick > 0 {
            self.first_tick = Some(seen.begun.saturating_sub((tick - 1) * period + slipped));
        }
        let Some(first) = self.first_tick else { return };
        // The latest tick was due by now, and the next is not overdue: neither before this turn nor after it.
        let due = |tick: u64| first + tick * period + slipped;
        let too_early = tick > 0 && due(tick - 1) > seen.ended + LATENESS;
        let overdue = seen.complete && report.pause.is_none() && due(tick) + LATENESS < seen.begun;
        let late = last.0 < tick && due(last.0) + LATENESS < seen.begun;
        checks.check(Condition::OnSchedule, !too_early && (!(overdue || late) || self.is_excused(seen)), || {
            let due = due(last.0);
            format!("{}: tick {} was due at {due} µs, {tick} at {} µs", report.session, last.0 + 1, seen.begun)
        });
        // Session time follows the ticks: it neither runs ahead of the clock nor falls behind.
        let elapsed = seen.ended.saturating_sub(self.created);
        checks.check(Condition::OnSchedule, report.time_us <= elapsed, || {
            format!("{}: session time is {} µs, {elapsed} µs after its beginning", report.session, report.time_us)
        });
        let ticks_time = tick * period;
        let ahead = report.time_us.saturating_sub(ticks_time);
        let most = period + self.first_tick.unwrap_or(0).saturating_sub(self.created) + 4 * period + LATENESS;
        checks.check(Condition::OnSchedule, ahead <= most, || {
            format!("{}: session time is {} µs at tick {tick}", report.session, report.time_us)
        });
    }

    fn look_at_seats(&mut self, report: &SessionReport, seen: TurnSeen, checks: &mut Checks<Condition>) {
        for player in &report.players {
            if player.connected {
                self.away.remove(&player.player);
                continue;
            }
            let &mut (_, latest) = self.away.entry(player.player.clone()).or_insert((seen.begun, seen.ended));
            let overdue =
                seen.complete && report.pause.is_none() && seen.begun > latest + self.seat_window + SEAT_LATENESS;
            let excused = seen.begun < self.excused_until || seen.begun <= seen.stalled_until + GRACE;
            checks.check(Condition::SeatWindow, !overdue || excused, || {
                format!("{} has been away since {latest} µs and has the seat at {} µs", player.player, seen.begun)
            });
        }
    }
}
