//! W3C Trace Context: the field `traceparent`.

use crate::message::{Fields, Name};

/// What a valid `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, in lower-case hexadecimal; never all zeros.
    pub trace: u128,
    /// The caller's span; never 0.
    pub span: u64,
    /// Whether the caller records the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// The value in a request's head; absent if it is missing, given twice or invalid (Trace Context, section 3.2).
    pub fn of(fields: &Fields) -> Option<Self> {
        let mut lines = fields.get_all(&Name::Traceparent);
        let (field, None) = (lines.next()?, lines.next()) else {
            return None;
        };
        Self::parse(field.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (first, rest) = text.split_at_checked(55)?;
        let version = hexadecimal(first.get(..2)?)?;
        // Later versions may have more to say behind another dash.
        let is_well_ended = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let is_divided = [2, 35, 52].into_iter().all(|place| first.get(place) == Some(&b'-'));
        let (trace, span) = (hexadecimal(first.get(3..35)?)?, hexadecimal(first.get(36..52)?)?);
        let flags = hexadecimal(first.get(53..55)?)?;
        if !is_well_ended || !is_divided || trace == 0 || span == 0 {
            return None;
        }
        Some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            sampled: flags & 1 == 1,
        })
    }
}

/// A number of lower-case digits.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_allows_is_read() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let valid = format!("00-{trace}-b7ad6b7169203331-01");
        let read = TraceContext::parse(valid.as_bytes()).unwrap();
        assert_eq!(
            (format!("{:032x}", read.trace).as_str(), read.span, read.sampled),
            (trace, 0xb7ad_6b71_6920_3331, true)
        );
        let later = TraceContext::parse(format!("cc-{trace}-b7ad6b7169203331-00-what").as_bytes());
        assert!(!later.unwrap().sampled);
        for bad in [
            String::new(),
            format!("{valid}-"),
            format!("ff-{trace}-b7ad6b7169203331-01"),
            format!("cc-{trace}-b7ad6b7169203331-01x"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", trace.to_uppercase()),
            format!("00_{trace}-b7ad6b7169203331-01"),
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
        let mut twice = Fields::new();
        twice.append(&Name::Traceparent, &valid);
        assert!(TraceContext::of(&twice).is_some());
        twice.append(&Name::Traceparent, &valid);
        assert_eq!(TraceContext::of(&twice), None);
    }
}
