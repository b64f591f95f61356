//! What the strict filter lets through, whole or in pieces: the same either way, and of it a parser that reads as strictly
//! as RFC 9112 allows finds as many requests as the filter says there are.

#![no_main]

#[path = "shared/strict.rs"]
mod strict;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narthex::testing::serve::strict::{Framer, Limits};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Vec<u8>,
    bytes: &'a [u8],
}

/// What hyper gets, heads, and whether there was a fault.
fn pass(bytes: &[u8], cuts: &[u8]) -> (Vec<u8>, u32, bool) {
    let mut framer = Framer::new(Limits::default());
    let (mut at, mut heads, mut cuts) = (0, 0, cuts.iter().cycle());
    let mut passed = Vec::new();
    while at < bytes.len() {
        let piece = cuts
            .next()
            .map_or(bytes.len(), |cut| usize::from(*cut) + 1)
            .min(bytes.len() - at);
        let piece = &bytes[at..at + piece];
        let mut scan = framer.scan(piece);
        assert!(scan.accepted <= piece.len());
        passed.extend_from_slice(&piece[..scan.accepted]);
        passed.extend(framer.encode(piece, &mut scan));
        heads += scan.heads;
        at += piece.len();
        if scan.fault.is_some() {
            return (passed, heads, true);
        }
    }
    (passed, heads, false)
}

/// How many whole heads begin where the last message ended.
fn heads(mut bytes: &[u8]) -> u32 {
    let mut count = 0;
    while let Some(message) = strict::next(bytes) {
        count += 1;
        let Some(rest) = message.rest else { break };
        bytes = rest;
    }
    count
}

fuzz_target!(|input: Input<'_>| {
    let whole = pass(input.bytes, &[]);
    assert_eq!(pass(input.bytes, &input.cuts), whole, "pieces differ");
    assert_eq!(pass(input.bytes, &[0]), whole, "single bytes differ");
    let (passed, found, _) = whole;
    assert_eq!(heads(&passed), found);
});
