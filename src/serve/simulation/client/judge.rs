//! Whether what a client gets instead of a pod's answer may be, by what has happened.

use super::{Ask, Client, Head};
use crate::serve::simulation::process::{IDLE, PATIENCE};
use std::time::Duration;
use tokio::time::Instant;

/// How long bytes may be under way.
const UNDER_WAY: Duration = Duration::from_millis(100);

impl Client {
    /// Judges an answer that narthex gives itself.
    pub(super) fn judge_own(&self, ask: &Ask, status: u16, head: &Head) -> Result<(), String> {
        let weather = self.world.weather.get();
        let slow = self.talk.slow.get();
        let may_be = match status {
            408 if head.number("x-unasked")?.is_some() => weather.leaves,
            408 => slow,
            502 => weather.dials || weather.breaks || weather.leaves || weather.early || weather.stalls,
            503 => weather.swaps || weather.limits,
            504 => weather.stalls || weather.dials || slow,
            _ => false,
        };
        if may_be {
            Ok(())
        } else {
            Err(format!("narthex itself answers {status} to {} {}", ask.method, ask.id))
        }
    }

    /// Why the connection may not have ended now, where a request is without an answer.
    pub(super) fn judge_end(
        &self,
        (place, id): (usize, usize),
        last: Instant,
        (inside, reset): (bool, bool),
    ) -> Option<String> {
        let (world, talk) = (&self.world, &self.talk);
        let asks = world.asks.borrow();
        // A request that was answered before all of it was read ends the connection behind the answer.
        let early = self.asks[..place]
            .iter()
            .any(|id| asks[*id].body.is_some() && !asks[*id].taken);
        if talk.left.get() || talk.slow.get() || early {
            return None;
        }
        let given = world.given.borrow();
        let breaks = |id| given.iter().any(|given| given.ask == id && given.breaks);
        // A reset that says that a later answer is cut takes away what the client has not read yet.
        let overtaken = reset && self.asks.iter().skip(place + 1).any(|id| breaks(*id));
        let breaks = breaks(id) || overtaken;
        let begins = talk.begins.borrow();
        let idle = if place == 0 { PATIENCE } else { IDLE };
        // The client hears of an answer a little later than narthex has given it.
        let may_close = world.drained.get() || last.elapsed() + UNDER_WAY >= idle;
        match begins.get(place) {
            // Nothing was asked.
            None if may_close => None,
            None => Some("it was idle for a short time only".to_owned()),
            Some(begins) if self.end.link().read_by(1) <= *begins && may_close => None,
            Some(_) if breaks => None,
            Some(_) if inside => Some("it is cut".to_owned()),
            Some(_) => Some("narthex had it".to_owned()),
        }
    }
}
