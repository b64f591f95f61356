//! Clients that are refused for what a field of theirs says.

use crate::message::{Fields, Name};
use crate::table::patterns::PathRegex;

/// What a field may not say, such as the names of unwanted programs in `User-Agent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Blocked {
    pub field: BlockedField,
    /// All of the field, without regard to ASCII case.
    pub texts: Box<[Box<str>]>,
    /// Any part of the field.
    pub expressions: Box<[PathRegex]>,
}

/// A field that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockedField {
    UserAgent,
    Referer,
}

impl Blocked {
    /// Whether a request says what it may not say.
    pub fn refuses(&self, fields: &Fields) -> bool {
        let name = match self.field {
            BlockedField::UserAgent => Name::UserAgent,
            BlockedField::Referer => Name::Referer,
        };
        fields.get_all(&name).any(|value| {
            let value = value.as_bytes();
            let is = |text: &str| value.eq_ignore_ascii_case(text.as_bytes());
            self.texts.iter().any(|text| is(text)) || self.expressions.iter().any(|regex| regex.fits(value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_whole_and_expressions_anywhere() {
        let blocked = Blocked {
            field: BlockedField::UserAgent,
            texts: ["Evil-Bot".into()].into(),
            expressions: [PathRegex::new("[Cc]rawl").unwrap()].into(),
        };
        for (name, value, refused) in [
            ("User-Agent", "evil-bot", true),
            ("User-Agent", "evil-bot/1", false),
            ("User-Agent", "a crawler", true),
            ("User-Agent", "a CRAWLER", false),
            ("Referer", "evil-bot", false),
        ] {
            let mut fields = Fields::new();
            fields.append("User-Agent", "curl");
            fields.append(name, value);
            assert_eq!(blocked.refuses(&fields), refused, "{name}: {value}");
        }
    }
}
