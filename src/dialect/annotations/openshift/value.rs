//! How OpenShift's router writes values.

use crate::table::Networks;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// The longest time that makes sense: HAProxy knows no longer one.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// A time as HAProxy writes it.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time such as 5s, 300ms or 1m");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let micros: u64 = match unit {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(wrong()),
    };
    let micros = number.checked_mul(micros).filter(|micros| *micros > 0);
    // What is longer than HAProxy knows is cut, as its router does.
    Ok(Duration::from_micros(micros.ok_or_else(wrong)?).min(LONGEST))
}

/// Networks and addresses, with blanks between.
pub(super) fn networks(text: &str) -> Result<Networks, String> {
    let read = |one: &str| {
        let network = one.parse::<IpNet>().ok();
        let network = network.or_else(|| one.parse::<IpAddr>().ok().map(IpNet::from));
        let hint = if one.contains([',', ';']) {
            ": write blanks between networks"
        } else {
            ""
        };
        network.ok_or_else(|| format!("\"{one}\" is not a network such as 10.0.0.0/8{hint}"))
    };
    let given: Vec<IpNet> = text.split_whitespace().map(read).collect::<Result<_, _>>()?;
    if given.is_empty() {
        return Err("it names no network such as 10.0.0.0/8".to_owned());
    }
    Ok(Networks::new(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_haproxy_does() {
        for (text, milliseconds) in [
            ("5s", 5_000),
            ("300", 300),
            ("300ms", 300),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(time("9000d"), Ok(LONGEST));
        for wrong in ["", "s", "5 s", "-5s", "5x", "0s", "99999999999999999999s", "1.5s"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_are_parted_by_blanks() {
        assert_eq!(networks("10.0.0.0/8  192.0.2.1 2001:db8::/32").unwrap().len(), 3);
        for wrong in ["", "  ", "10.0.0.0/33", "10.0.0.1,10.0.0.2", "a.test"] {
            assert!(networks(wrong).is_err(), "{wrong}");
        }
    }
}
