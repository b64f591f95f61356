//! Hosts and paths have one form: making it again changes nothing, and it holds nothing that another parser reads
//! differently.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex::testing::table::canonical::{canonical_host, canonical_path, canonical_rule_path};

fn is_plain(path: &str, keep_slashes: bool) {
    assert!(path.starts_with('/'), "{path:?}");
    assert!(keep_slashes || !path.contains("//"), "{path:?}");
    for element in path.split('/') {
        let decoded = element.to_ascii_lowercase().replace("%2e", ".");
        assert!(decoded != "." && decoded != "..", "{path:?}");
    }
    let lower = path.to_ascii_lowercase();
    assert!(
        !lower.contains("%00") && !path.contains(['#', '?', '\\', '\0', ' ']),
        "{path:?}"
    );
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(host) = canonical_host(text) {
        let again = canonical_host(&host.name).expect("the canonical form is a host");
        assert_eq!(again.name, host.name);
        assert!(
            !host
                .name
                .contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace() || c == '/' || c == '@')
        );
    }
    for reject in [false, true] {
        // As a request has it: visible ASCII from the filter, without a query.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['?', '#']) {
            continue;
        }
        let Ok(path) = canonical_path(text, reject) else {
            continue;
        };
        for keep in [false, true] {
            let form = path.form(keep);
            is_plain(form, keep);
            let again = canonical_path(form, reject).expect("the canonical form is a path");
            assert_eq!(again.form(keep), form);
        }
    }
    for keep in [false, true] {
        if let Ok(path) = canonical_rule_path(text, keep) {
            assert_eq!(canonical_rule_path(&path, keep).as_deref(), Ok(path.as_str()));
        }
    }
});
