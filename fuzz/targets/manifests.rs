//! Any bytes in a manifest: objects, or diagnostics that name a place, and an end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex::testing::compile::{Options, State};
use narthex::testing::source::directory::parse::parse;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for file in ["x.yaml", "x.json"] {
        let parsed = parse(Path::new(file), text);
        for diagnostic in &parsed.diagnostics {
            assert!(!diagnostic.message.is_empty());
            assert!(diagnostic.location.is_some(), "{diagnostic:?}");
        }
        let objects = parsed.objects.into_iter().map(|(object, _)| object);
        let mut state = State::compile(Options::default(), objects);
        let _ = (state.table(), state.refresh());
    }
});
