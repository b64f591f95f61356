//! The id of a request, by which clients, pods and logs name it.

use crate::message::{Name, Request};
use http::HeaderValue;

/// The id of a request.
#[derive(Clone, Debug)]
pub enum RequestId {
    /// 128 random bits in hexadecimal.
    Ours([u8; 32]),
    /// The id that a trusted proxy has sent.
    Told(HeaderValue),
}

impl RequestId {
    /// A new one.
    pub fn new() -> Self {
        let bits = fastrand::u128(..).to_ne_bytes();
        let mut text = [0; 32];
        for (eight, four) in text.as_chunks_mut::<8>().0.iter_mut().zip(bits.as_chunks::<4>().0) {
            *eight = hexadecimal(u32::from_ne_bytes(*four));
        }
        Self::Ours(text)
    }

    /// A trusted proxy's id, or a new one.
    pub fn of(request: &Request, trusted: bool) -> Self {
        if trusted
            && let Some(id) = request.fields.get(&Name::XRequestId)
            && let Some(id) = id.to_header()
        {
            return Self::Told(id);
        }
        Self::new()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ours(text) => text,
            Self::Told(value) => value.as_bytes(),
        }
    }

    /// Its text; empty if a proxy's id has other bytes than visible ASCII.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ours(text) => std::str::from_utf8(text).unwrap_or_default(),
            Self::Told(value) => value.to_str().unwrap_or_default(),
        }
    }
}

/// Writes all digits at once: each half byte gets a byte of its own, and becomes the digit there.
fn hexadecimal(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 10 and more become letters.
    let letters = (digits + 6 * ONES) >> 4 & ONES;
    let letters = letters * u64::from(b'a' - b'0' - 10);
    (digits + u64::from(b'0') * ONES + letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 9, 10, 15, 16, 0x1234_5678, 0x9abc_def0, u32::MAX] {
            assert_eq!(hexadecimal(number), *format!("{number:08x}").as_bytes());
        }
    }
}
