//! The three encoders under one roof. Their levels and windows are chosen by measurement: docs/compression.md.

use crate::table::Coding;
use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::write::GzEncoder;
use std::io::{self, Write};
use zstd::zstd_safe::CParameter;

/// From 5 on, each level of miniz_oxide costs half as much again for a hundredth less.
const GZIP_LEVEL: u32 = 4;
/// The last one before memory grows beyond bounds (5 may take 34 MiB).
const BROTLI_QUALITY: i32 = 4;
/// Bytes that brotli hands out at once.
const BROTLI_BUFFER: usize = 4096;
/// Its own default, and the last one with two tables only.
const ZSTD_LEVEL: i32 = 3;
/// Sizes of these two tables, in powers of two: half of what the level would have for this window.
const ZSTD_HASH_LOG: u32 = 16;
const ZSTD_CHAIN_LOG: u32 = 15;
/// How far back brotli and zstd look, in powers of two: 256 KiB. Clients take up to 8 MiB for zstd (RFC 9659) and
/// 16 MiB for brotli (RFC 7932, section 9.1), but it is memory that every stream takes, here and there.
const WINDOW_LOG: u32 = 18;
/// The smallest window that both have.
const LEAST_WINDOW_LOG: u32 = 10;

/// What an encoder of this coding takes at the most, in bytes, as measured.
pub fn memory(coding: Coding) -> usize {
    match coding {
        Coding::Zstd => 1408 << 10,
        Coding::Brotli => 2432 << 10,
        Coding::Gzip => 384 << 10,
    }
}

/// Makes one coded stream of many pieces.
pub struct Encoder(Kind);

enum Kind {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// An encoder for a body of this many bytes, if the length is known. It takes less memory for short bodies.
    ///
    /// # Errors
    /// What zstd says, such as that there is no memory.
    pub fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        let out = Vec::new();
        let window = length.map_or(WINDOW_LOG, |length| {
            let log = length.max(1).next_power_of_two().ilog2();
            log.clamp(LEAST_WINDOW_LOG, WINDOW_LOG)
        });
        Ok(Self(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::WindowLog(window))?;
                encoder.set_parameter(CParameter::HashLog(window.min(ZSTD_HASH_LOG)))?;
                encoder.set_parameter(CParameter::ChainLog(window.min(ZSTD_CHAIN_LOG)))?;
                // This names the length in the frame too, so that it is an error if there is more or less.
                encoder.set_pledged_src_size(length)?;
                Kind::Zstd(encoder)
            }
            Coding::Brotli => {
                let parameters = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    // Up to 30, by definition of the constants above.
                    lgwin: window as i32,
                    size_hint: length.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX)),
                    ..BrotliEncoderParams::default()
                };
                Kind::Brotli(Box::new(CompressorWriter::with_params(out, BROTLI_BUFFER, &parameters)))
            }
            Coding::Gzip => Kind::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL))),
        }))
    }

    /// Takes bytes in.
    ///
    /// # Errors
    /// More bytes than the length that was named.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Kind::Zstd(encoder) => encoder.write_all(bytes),
            Kind::Brotli(encoder) => encoder.write_all(bytes),
            Kind::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Puts all that was taken in where [`Encoder::take`] finds it, in a form that can be decoded without more.
    ///
    /// # Errors
    /// None that is known of.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Zstd(encoder) => encoder.flush(),
            Kind::Brotli(encoder) => encoder.flush(),
            Kind::Gzip(encoder) => encoder.flush(),
        }
    }

    /// What has come out since the last time.
    pub fn take(&mut self) -> Bytes {
        let out = match &mut self.0 {
            Kind::Zstd(encoder) => encoder.get_mut(),
            Kind::Brotli(encoder) => encoder.get_mut(),
            Kind::Gzip(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    /// How many bytes [`Encoder::take`] has.
    pub fn ready(&self) -> usize {
        match &self.0 {
            Kind::Zstd(encoder) => encoder.get_ref(),
            Kind::Brotli(encoder) => encoder.get_ref(),
            Kind::Gzip(encoder) => encoder.get_ref(),
        }
        .len()
    }

    /// Ends the stream; what is left of it.
    ///
    /// # Errors
    /// Fewer bytes than the length that was named.
    pub fn finish(self) -> io::Result<Bytes> {
        Ok(match self.0 {
            Kind::Zstd(encoder) => encoder.finish()?,
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::stream::STRETCH;
    use super::*;
    use std::io::Read;

    /// What a decoder makes of a stream, or of the beginning of one; the error is that of its end.
    pub fn decode(coding: Coding, coded: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let mut decoder: Box<dyn Read + '_> = match coding {
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
            Coding::Brotli => Box::new(brotli::Decompressor::new(coded, 4096)),
            Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(coded)),
        };
        let mut out = Vec::new();
        let mut piece = [0; 1024];
        loop {
            match decoder.read(&mut piece) {
                Ok(0) => return (out, Ok(())),
                Ok(count) => out.extend_from_slice(&piece[..count]),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    /// Text that repeats itself as text does, and is not the same all over.
    pub fn text(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let words = ["lorem", "ipsum", "dolor", "{\"id\": 17}", "<td class=\"x\">", "\n"];
        let mut text = Vec::new();
        while text.len() < length {
            text.extend_from_slice(words[random.usize(..words.len())].as_bytes());
            text.extend_from_slice(random.u16(..).to_string().as_bytes());
        }
        text.truncate(length);
        text
    }

    #[test]
    fn what_goes_in_comes_out_at_each_flush_and_at_the_end() {
        for coding in Coding::ALL {
            for length in [0, 1, 1000, 70_000, 700_000] {
                for named in [None, Some(length as u64)] {
                    let text = text(length);
                    let mut encoder = Encoder::new(coding, named).unwrap();
                    let (first, second) = text.split_at(length / 2);
                    encoder.write(first).unwrap();
                    encoder.flush().unwrap();
                    let mut coded = encoder.take().to_vec();
                    if !first.is_empty() {
                        assert_eq!(decode(coding, &coded).0, first, "{coding:?} {length}");
                    }
                    encoder.write(second).unwrap();
                    coded.extend_from_slice(&encoder.finish().unwrap());
                    let (decoded, end) = decode(coding, &coded);
                    assert!(end.is_ok() && decoded == text, "{coding:?} {length}: {end:?}");
                }
            }
        }
    }

    #[test]
    fn a_length_that_was_wrong_is_noticed_by_zstd() {
        for wrong in [9, 11] {
            let mut encoder = Encoder::new(Coding::Zstd, Some(wrong)).unwrap();
            let written = encoder.write(b"0123456789").and_then(|()| encoder.finish());
            assert!(written.is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_is_what_is_said() {
        let text = text(2 << 20);
        // zstd's is not counted by Rust's allocator; it says itself.
        for coding in [Coding::Brotli, Coding::Gzip] {
            let taken = allocation_counter::measure(|| {
                let mut encoder = Encoder::new(coding, None).unwrap();
                for stretch in text.chunks(STRETCH) {
                    encoder.write(stretch).unwrap();
                    encoder.flush().unwrap();
                    encoder.take();
                }
                encoder.finish().unwrap();
            });
            let most = memory(coding) as u64;
            assert!(taken.bytes_max <= most, "{coding:?}: {}", taken.bytes_max);
            assert!(taken.bytes_max > most / 2, "{coding:?}: {}", taken.bytes_max);
        }
    }
}
