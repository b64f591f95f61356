//! How often a client may ask.

use super::addresses::Networks;
use http::{HeaderName, StatusCode};

/// The rates of a route: a request has to keep to all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rates {
    /// By this its state is known, over changes of the table and of the numbers.
    pub id: u64,
    /// Clients that may ask as often as they like.
    pub exempt: Networks,
    pub limits: Box<[Rate]>,
    /// What those get who ask more often.
    pub status: StatusCode,
    pub key: RateKey,
    /// Whether it is narthex's own limit: a client that asks too often is told when to come again, and a client of IPv6 is
    /// known by the first 64 bits of its address. Otherwise it is that of ingress-nginx.
    pub native: bool,
}

/// Which requests are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum RateKey {
    /// Those of one client address.
    #[default]
    Client,
    /// Those with the same value of a field. Requests without it are counted by client.
    Header(HeaderName),
    /// Those for one host.
    Host,
}

/// A rate, as a bucket that a request fills by one and that empties at a steady pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Nanoseconds in which the bucket empties by one.
    pub interval: u64,
    /// How many requests may come at once beyond the first.
    pub burst: u32,
}

impl Rate {
    /// So many requests in so many seconds; absent for none.
    pub fn new(requests: u32, seconds: u32, burst: u32) -> Option<Self> {
        let interval = (u64::from(seconds) * 1_000_000_000).checked_div(requests.into())?;
        Some(Self { interval, burst })
    }
}
