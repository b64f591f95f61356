//! Copies of requests for another backend.

use super::super::backend::BackendId;
use super::template::Template;
use std::fmt;

/// A backend that gets copies of a route's requests. Nobody hears of what it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    pub to: BackendId,
    /// The path and query of a copy; absent for those that the pod gets.
    pub target: Option<Template>,
    /// `Host` of a copy; absent for that which the pod gets.
    pub host: Option<Box<str>>,
    /// Whether a copy has the body of its request.
    pub body: bool,
    /// Of how many requests a copy is made.
    pub share: Share,
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    pub part: u32,
    /// More than 0.
    pub whole: u32,
}

impl Share {
    /// All of it.
    pub const ALL: Self = Self { part: 1, whole: 1 };

    /// Whether one is of the part. `draw` draws a number below the one it is given.
    pub fn has(self, draw: impl Fn(u32) -> u32) -> bool {
        self.part >= self.whole || (self.part > 0 && draw(self.whole) < self.part)
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Share { part, whole } = self.share;
        match (part, whole) {
            (part, whole) if part >= whole => f.write_str("mirror"),
            (part, whole) => write!(f, "mirror({part}/{whole})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_all_are_exact_and_a_part_is_a_part() {
        let count = |part, whole| {
            let share = Share { part, whole };
            (0..whole).filter(|number| share.has(|_| *number)).count()
        };
        assert_eq!(
            (count(0, 100), count(100, 100), count(7, 100), count(3, 3)),
            (0, 100, 7, 3)
        );
        assert!(Share::ALL.has(|_| 0));
    }
}
