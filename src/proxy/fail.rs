//! For tests of what happens after a bug: in builds for development only, requests for the path that
//! `NARTHEX_TEST_PANIC` names panic.

use std::sync::LazyLock;

static PATH: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("NARTHEX_TEST_PANIC").ok());

/// Panics where that is asked for.
pub fn maybe(place: &str) {
    assert!(PATH.as_deref() != Some(place), "NARTHEX_TEST_PANIC={place}");
}
