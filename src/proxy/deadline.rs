//! The time a whole request has: what its backend's `request-timeout` allows, and what a gRPC client gives (gRPC over
//! HTTP/2, "Timeout"). The pod is told of the latter, and where the pod does not keep it, narthex does. To the point, so
//! not by the sweeper's ticks.

use super::client::Client;
use super::error::ProxyError;
use super::facts::Facts;
use super::forward::Stop;
use crate::message::{Fields, Name};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What `grpc-timeout` of a gRPC request says; none where there is none, or it is not as the specification has it: a
/// number above 0 of at most eight digits and a unit.
pub fn deadline(fields: &Fields, facts: &Facts<'_>) -> Option<Duration> {
    if !facts.grpc {
        return None;
    }
    let (unit, digits) = fields.get(&Name::GrpcTimeout)?.as_bytes().split_last()?;
    if digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|amount| *amount > 0)?;
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Waits no longer than until then.
///
/// # Errors
/// That of what is waited for, or [`ProxyError::Deadline`].
pub async fn keep<T>(at: Instant, waited: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let kept = tokio::time::timeout_at(at, waited).await;
    kept.unwrap_or_else(|_| Err(ProxyError::Deadline.into()))
}

/// Breaks a response off, and so the pod's, when the time is up; unless it is dropped before.
pub struct Alarm {
    task: AbortHandle,
    rung: Rc<Cell<bool>>,
}

impl Alarm {
    /// Goes off then. In a task of its own, for a reply that its client does not take is not polled.
    pub fn set(at: Instant, client: &Rc<Client>) -> Self {
        let (client, rung) = (client.clone(), Rc::new(Cell::new(false)));
        let ring = rung.clone();
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep_until(at).await;
            tracing::debug!(peer = %client.peer.socket, "the time for a request passed within its response");
            ring.set(true);
            // Over HTTP/1.1 the body finds out, and the connection ends.
            client.wait.reset();
            client.wait.wake();
        });
        Self {
            task: task.abort_handle(),
            rung,
        }
    }

    /// Whether the time is up.
    pub fn has_rung(&self) -> bool {
        self.rung.get()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_has_is_a_deadline() {
        for (said, wanted) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("400m", Some(Duration::from_millis(400))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000n", None),
            ("0S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("+1S", None),
            ("-1S", None),
            ("1.5S", None),
            (" 1S", None),
        ] {
            let mut headers = Fields::new();
            headers.insert("grpc-timeout", said);
            assert_eq!(deadline(&headers, &Facts::of(&headers)), None, "no gRPC: {said}");
            headers.insert(&Name::ContentType, "application/grpc");
            assert_eq!(deadline(&headers, &Facts::of(&headers)), wanted, "{said}");
        }
    }
}
