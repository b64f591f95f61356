//! Which content coding a client gets (RFC 9110, section 12.5.3).

use crate::message::{Fields, Name, Value};
use crate::table::Coding;

/// How many elements of `Accept-Encoding` are read, over all its lines: there are not that many codings.
const MAX_ELEMENTS: usize = 32;

/// The weight of a coding that is named without one, in thousandths.
const FULL: u16 = 1000;

/// What a client says of content codings. Weights are in thousandths; none is "not named".
#[derive(Debug, Default)]
struct Accepted {
    zstd: Option<u16>,
    brotli: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Accepted {
    /// Reads all lines. What is no element of the grammar counts as not said; of two that name the same, the last
    /// counts.
    fn of(fields: &Fields) -> Self {
        let mut accepted = Self::default();
        let lines = fields.get_all(&Name::AcceptEncoding);
        let elements = lines.flat_map(Value::options);
        for element in elements.take(MAX_ELEMENTS) {
            let mut parts = element.split(|byte| *byte == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let Some(weight) = weight(parts) else { continue };
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let place = if is("zstd") {
                &mut accepted.zstd
            } else if is("br") {
                &mut accepted.brotli
            } else if is("gzip") || is("x-gzip") {
                // Section 8.4.1.3: a recipient takes the two for the same.
                &mut accepted.gzip
            } else if is("identity") {
                &mut accepted.identity
            } else if is("*") {
                &mut accepted.any
            } else {
                continue;
            };
            *place = Some(weight);
        }
        accepted
    }

    /// How much a coding is wanted; 0 for not at all. `*` stands for those that are not named.
    fn weight(&self, coding: Coding) -> u16 {
        let named = match coding {
            Coding::Zstd => self.zstd,
            Coding::Brotli => self.brotli,
            Coding::Gzip => self.gzip,
        };
        named.or(self.any).unwrap_or(0)
    }
}

/// The weight in the parameters of an element; absent if they are invalid.
fn weight<'e>(parameters: impl Iterator<Item = &'e [u8]>) -> Option<u16> {
    let mut weight = FULL;
    for parameter in parameters {
        let parameter = parameter.trim_ascii();
        if let Some(value) = parameter.strip_prefix(b"q=").or(parameter.strip_prefix(b"Q=")) {
            weight = thousandths(value)?;
        }
    }
    Some(weight)
}

/// A `qvalue` (section 12.4.2): 0 to 1, with at most three digits after the point.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, digits) = match text {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut value = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        value = value * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (value <= FULL).then_some(value)
}

/// The coding that a client wants the most of those offered, in the order of which it is chosen among equals. None is
/// the reply as it is: where nothing that is offered is acceptable, and where the client would rather have it so.
///
/// A client that excludes `identity` too is not refused: section 12.5.3 leaves that open, and its pod may know better.
pub fn choose(fields: &Fields, offered: &[Coding]) -> Option<Coding> {
    let accepted = Accepted::of(fields);
    let mut best: Option<(u16, Coding)> = None;
    for coding in offered {
        let weight = accepted.weight(*coding);
        if weight > best.map_or(0, |(best, _)| best) {
            best = Some((weight, *coding));
        }
    }
    let (weight, coding) = best?;
    (weight >= accepted.identity.unwrap_or(0)).then_some(coding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&str]) -> Option<&'static str> {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(&Name::AcceptEncoding, line);
        }
        choose(&headers, &Coding::ALL).map(Coding::name)
    }

    #[test]
    fn a_client_gets_what_it_asks_for() {
        for (lines, wanted) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some("gzip")),
            (&["GZip"], Some("gzip")),
            (&["x-gzip"], Some("gzip")),
            (&["deflate"], None),
            (&["identity"], None),
            // The server's order among equals.
            (&["gzip, deflate, br, zstd"], Some("zstd")),
            (&["gzip, deflate, br"], Some("br")),
            (&["gzip", "br"], Some("br")),
            (&["*"], Some("zstd")),
            (&["*;q=0.1"], Some("zstd")),
            (&["zstd;q=0, *"], Some("br")),
            (&["*;q=0"], None),
            (&["gzip, *;q=0"], Some("gzip")),
            // The client's weights.
            (&["gzip;q=1.0, br;q=0.9, zstd;q=0.8"], Some("gzip")),
            (&["gzip;q=0.5, br;q=0.501"], Some("br")),
            (&["gzip ; Q=0.2 , br;q=0"], Some("gzip")),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000"], None),
            (&["gzip;q=0.001"], Some("gzip")),
            (&["gzip;q="], None),
            // What is liked better as it is stays so.
            (&["identity;q=1, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
            (&["identity;q=0.5, *;q=0.6"], Some("zstd")),
            (&["identity;q=0"], None),
            (&["identity;q=0, gzip;q=0.1"], Some("gzip")),
            // Garbage is as if it were not there.
            (&["gzip;q=2"], None),
            (&["gzip;q=1.001"], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;q=-1"], None),
            (&["gzip;q=x, br"], Some("br")),
            (&["gzip;level=9"], Some("gzip")),
            (&[",,;,gzip,;q=1"], Some("gzip")),
            (&["gzip br"], None),
            (&["\u{fc}, gzip"], Some("gzip")),
            (&["gzip, gzip;q=0"], None),
        ] {
            assert_eq!(chosen(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn what_comes_after_many_elements_is_not_read() {
        let some = "x,".repeat(MAX_ELEMENTS - 1);
        assert_eq!(chosen(&[&format!("{some}gzip")]), Some("gzip"));
        assert_eq!(chosen(&[&format!("x,{some}gzip")]), None);
    }

    #[test]
    fn only_what_is_offered_is_chosen() {
        let mut headers = Fields::new();
        headers.insert(&Name::AcceptEncoding, "*, gzip;q=0.5");
        assert_eq!(choose(&headers, &[Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(choose(&headers, &[Coding::Gzip, Coding::Brotli]), Some(Coding::Brotli));
        assert_eq!(choose(&headers, &[]), None);
    }
}
