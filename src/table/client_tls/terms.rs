//! The versions and cipher suites that a host takes.

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use std::fmt;
use std::sync::Arc;

/// The suites of TLS 1.2 that narthex has: the name that OpenSSL and nginx give them, and what else OpenSSL's lists call
/// them by.
const ALL: [(&str, CipherSuite, &[&str]); 6] = [
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "AES256-GCM", "SHA384"],
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        &["ECDSA", "aECDSA", "CHACHA20"],
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        &["aRSA", "CHACHA20"],
    ),
];

/// Words of OpenSSL's lists that stand for all of them.
const GENERAL: &[&str] = &[
    "ALL", "DEFAULT", "HIGH", "FIPS", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH",
];

/// The longest list.
const LONGEST: usize = 4096;

/// Some of the cipher suites of TLS 1.2. Those of TLS 1.3 are all good, and are always taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CipherSuites(u8);

/// What a list of suites says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CipherList {
    pub suites: CipherSuites,
    /// The names that stand for no suite that narthex has.
    pub unknown: Vec<String>,
}

impl CipherSuites {
    /// Reads a list: names of suites, as OpenSSL or IANA has them, with colons, commas or blanks between. `!` and `-` take
    /// suites out, and names with `+` between stand for what both of them are.
    ///
    /// # Errors
    /// Why no suite is left.
    pub fn read(text: &str) -> Result<CipherList, String> {
        let mut unknown = Vec::new();
        let (mut taken, mut banned) = (0_u8, 0_u8);
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let names = text
            .split([':', ',', ';', ' ', '\n', '\t', '\r'])
            .filter(|name| !name.is_empty());
        for name in names {
            let (sign, bare) = match name.split_at_checked(1) {
                Some((sign @ ("!" | "-" | "+" | "@"), bare)) => (sign, bare),
                _ => ("", name),
            };
            let those = bare.split('+').fold(u8::MAX, |those, word| those & named(word));
            match sign {
                // These are about the order, which is the client's.
                "+" | "@" => {}
                "-" => taken &= !those,
                "!" => banned |= those,
                _ if those == 0 => unknown.push(bare.escape_debug().to_string()),
                _ => taken |= those,
            }
        }
        match taken & !banned {
            0 => Err(format!(
                "\"{}\" names no cipher suite of TLS 1.2 that narthex has",
                text.escape_debug()
            )),
            suites => Ok(CipherList {
                suites: Self(suites),
                unknown,
            }),
        }
    }

    /// What a provider has, with no other suites of TLS 1.2 than these.
    pub fn of(self, provider: &CryptoProvider) -> Arc<CryptoProvider> {
        let mut provider = provider.clone();
        provider.cipher_suites.retain(|known| self.has(known.suite()));
        Arc::new(provider)
    }

    /// Whether a suite is one of them. All of TLS 1.3 are.
    fn has(self, suite: CipherSuite) -> bool {
        let mut places = ALL.iter().enumerate();
        let place = places.find(|(_, (_, known, _))| *known == suite);
        place.is_none_or(|(place, _)| self.0 & (1 << place) != 0)
    }
}

/// The suites that a word stands for, a bit for each.
fn named(word: &str) -> u8 {
    if GENERAL.contains(&word) {
        return (1 << ALL.len()) - 1;
    }
    let is = |(name, suite, words): &(&str, CipherSuite, &[&str])| {
        *name == word || words.contains(&word) || suite.as_str() == Some(word)
    };
    let bits = ALL.iter().enumerate().map(|(place, one)| u8::from(is(one)) << place);
    bits.fold(0, |all, bit| all | bit)
}

impl fmt::Display for CipherSuites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = ALL.iter().enumerate();
        let names = all.filter(|(place, _)| self.0 & (1 << place) != 0);
        let names: Vec<&str> = names.map(|(_, (name, ..))| *name).collect();
        f.write_str(&names.join(":"))
    }
}

impl fmt::Debug for CipherSuites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CipherSuites({self})")
    }
}

/// What a host takes of versions and suites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsTerms {
    /// Whether TLS 1.2 is refused.
    pub only_13: bool,
    /// The suites of TLS 1.2; absent for all that narthex has.
    pub suites: Option<CipherSuites>,
}

impl TlsTerms {
    /// What both take; absent where that is no suite.
    pub fn and(self, other: Self) -> Option<Self> {
        let suites = match (self.suites, other.suites) {
            (Some(one), Some(other)) => Some(CipherSuites(one.0 & other.0)),
            (one, other) => one.or(other),
        };
        let only_13 = self.only_13 || other.only_13;
        let some = suites.is_none_or(|suites| suites.0 != 0);
        some.then_some(Self { only_13, suites })
    }
}

impl fmt::Display for TlsTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.only_13, self.suites) {
            (true, _) => f.write_str("TLS 1.3"),
            (false, None) => f.write_str("TLS 1.2 or 1.3"),
            (false, Some(suites)) => write!(f, "TLS 1.3, or 1.2 with {suites}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_openssl_does() {
        for (text, wanted) in [
            ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            (
                "ECDHE+AESGCM:!ECDSA",
                "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256",
            ),
            (
                "HIGH:!aNULL:!MD5:!AES128:!CHACHA20:!aRSA",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
            ),
            ("!AES:ALL", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"),
            (
                "ALL:-AES:@STRENGTH:+SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
            ),
            (
                "ALL:-CHACHA20:ECDHE-RSA-CHACHA20-POLY1305:!AES",
                "ECDHE-RSA-CHACHA20-POLY1305",
            ),
        ] {
            let list = CipherSuites::read(text).unwrap();
            assert_eq!(list.suites.to_string(), wanted, "{text}");
            assert!(list.unknown.is_empty(), "{text}");
        }
        let list = CipherSuites::read("AES128-SHA, ECDHE-RSA-CHACHA20-POLY1305 DHE-RSA-AES128-GCM-SHA256").unwrap();
        assert_eq!(list.suites.to_string(), "ECDHE-RSA-CHACHA20-POLY1305");
        assert_eq!(list.unknown, ["AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"]);
        for text in [
            "",
            "RC4-SHA",
            "ALL:!ALL",
            "!RC4",
            "kRSA+AES",
            "TLS_AES_128_GCM_SHA256",
            "\r\n\0",
        ] {
            assert!(CipherSuites::read(text).is_err(), "{text:?}");
        }
        assert!(CipherSuites::read(&"ALL:".repeat(2000)).is_err());
    }

    #[test]
    fn those_of_version_1_3_are_always_taken() {
        let suites = CipherSuites::read("ECDHE-RSA-CHACHA20-POLY1305").unwrap().suites;
        assert!(suites.has(CipherSuite::TLS13_AES_128_GCM_SHA256));
        assert!(suites.has(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256));
        assert!(!suites.has(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256));
    }
}
