//! Values of the flags of the access log.

use clap::ValueEnum;
use http::HeaderName;
use std::str::FromStr;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// No access log.
    Off,
    /// A JSON object with all fields.
    Json,
    /// The combined format of nginx and Apache.
    Combined,
    /// Traefik's common format, with referrer, agent, count, route, server and time.
    Traefik,
}

/// Statuses from the first to the last: `400-599`, or `404`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Whether it is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| text.parse().ok().filter(|status| (100..=599).contains(status));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("write a status such as 404, or a range such as 400-599".to_owned()),
        }
    }
}

/// Fields that let who reads them act for somebody else.
const SECRETS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
];

/// A field that is shown: `User-Agent`; where it holds secrets only whether it was there, unless that is asked for:
/// `Cookie=clear`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The field.
    pub name: HeaderName,
    /// Whether its value is.
    pub clear: bool,
}

impl FromStr for Shown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, clear) = match text.split_once('=') {
            Some((name, "clear")) => (name, true),
            Some(_) => return Err("write NAME, or NAME=clear for a field that holds secrets".to_owned()),
            None => (text, false),
        };
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("\"{name}\" is not the name of a header field"))?;
        let clear = clear || !SECRETS.contains(&name.as_str());
        Ok(Self { name, clear })
    }
}
