//! Annotations that say how fast replies are sent.

use super::super::config::Config;
use super::super::value::{limit, number};
use super::super::{Served, Wrong};
use crate::table::Pace;

/// What they ask for, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Wanted {
    rate: Option<u32>,
    after: Option<u32>,
}

impl Wanted {
    /// Puts together what was asked for; absent for no limit.
    pub fn settle(self, config: &Config) -> Option<Pace> {
        let bytes = |number: u32| u64::from(number) << 10;
        let rate = bytes(self.rate.unwrap_or(config.limit_rate));
        (rate > 0).then(|| Pace {
            rate,
            after: bytes(self.after.unwrap_or(config.limit_rate_after)),
        })
    }
}

pub(super) static ALL: &[Served] = &[
    Served {
        name: "limit-rate",
        differs: "",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.nginx.pace.rate = Some(number(text)?);
            Ok(())
        }),
    },
    Served {
        name: "limit-rate-after",
        differs: "",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.nginx.pace.after = Some(number(text)?);
            Ok(())
        }),
    },
];
