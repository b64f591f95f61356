//! Remembering what a service has said of clients, by a key that the route makes of their requests.

use super::access::Asked;
use super::worker::Worker;
use crate::message::{Fields, Name, Value};
use crate::policy::answers::{Remembered, Tag};
use crate::table::External;
use crate::table::decide::known;
use http::StatusCode;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// A question whose answer may be remembered.
pub struct Question<'e> {
    external: &'e External,
    tag: Tag,
}

impl<'e> Question<'e> {
    /// Absent where nothing is remembered. The same question of another route, or after a change of what is asked, is another
    /// one.
    pub fn of(asked: &Asked<'_>, external: &'e External) -> Option<Self> {
        let remembered = external.remembered.as_ref()?;
        let known = known(asked.ask, asked.canonical, asked.route);
        let key = remembered.key.expand(&known);
        let asks = foldhash::fast::FixedState::default().hash_one(external);
        let host = asked.canonical.host.as_deref().unwrap_or_default();
        let tag = asked.worker.settings.answers.tag(&[
            &remembered.id.to_le_bytes(),
            &asked.route.key.0.to_le_bytes(),
            &asks.to_le_bytes(),
            host.as_bytes(),
            key.as_bytes(),
        ]);
        tag.map(|tag| Self { external, tag })
    }

    /// The answer, if it was given lately.
    pub fn answer(&self, worker: &Worker) -> Option<Arc<Remembered>> {
        worker.settings.answers.get(&self.tag)
    }

    /// Remembers an answer as long as the route and the service say. One that is for this client alone is not.
    pub fn remember(&self, worker: &Worker, status: StatusCode, fields: &Fields) {
        let Some(time) = self.time(status, fields) else { return };
        let mut kept = Fields::new();
        for name in self
            .external
            .fields
            .iter()
            .map(|name| &**name)
            .chain(["WWW-Authenticate"])
        {
            for value in fields.get_all(name) {
                kept.append(name, value.as_bytes());
            }
        }
        let forgotten = worker
            .settings
            .answers
            .remember(self.tag, Remembered { status, fields: kept }, time);
        for _ in 0..forgotten {
            worker.counters.answers_forgotten.add();
        }
    }

    /// For how long an answer counts (RFC 9111, section 5.2.2).
    fn time(&self, status: StatusCode, fields: &Fields) -> Option<Duration> {
        let time = self.external.remembered.as_ref()?.time(status)?;
        let differs = |value: Value<'_>| {
            !value
                .options()
                .all(|name| name.eq_ignore_ascii_case(b"accept-encoding"))
        };
        if fields.contains(&Name::SetCookie) || fields.get_all(&Name::Vary).any(differs) {
            return None;
        }
        let mut most = time;
        for option in fields.get_all(&Name::CacheControl).flat_map(Value::options) {
            let option = std::str::from_utf8(option).ok()?.to_ascii_lowercase();
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            match name.trim() {
                "no-store" | "no-cache" | "private" => return None,
                "max-age" | "s-maxage" => {
                    let seconds = value.trim().trim_matches('"').parse().ok()?;
                    most = most.min(Duration::from_secs(seconds));
                }
                _ => {}
            }
        }
        Some(most).filter(|time| !time.is_zero())
    }
}
