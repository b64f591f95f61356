//! The house rules that imports can break: which room may use which, and which crates (docs/architecture.md).

#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;

#[path = "architecture/offences.rs"]
mod offences;
#[path = "architecture/rights.rs"]
mod rights;
#[path = "architecture/rooms.rs"]
mod rooms;
#[path = "architecture/rust.rs"]
mod rust;

use rooms::root;
use rust::Target;

fn table() -> rooms::Table {
    rooms::table(&fs::read_to_string(root().join("docs/architecture.md")).expect("the page"))
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let rooms = fs::read_dir(root().join("src")).expect("src");
    let rooms: BTreeSet<String> = rooms
        .map(|entry| entry.expect("a readable entry").path().with_extension(""))
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .filter(|name| name != "lib" && name != "main")
        .collect();
    let rows: BTreeSet<String> = table().into_keys().collect();
    assert_eq!(rows, rooms, "the table of docs/architecture.md, and src/");
}

#[test]
fn rooms_use_only_what_they_may() {
    let found = rooms::offences(&table(), rooms::named());
    assert!(found.is_empty(), "against docs/architecture.md:\n{}", found.join("\n"));
}

/// A right that nobody uses would be used by the next who does not think about it.
#[test]
fn the_table_grants_no_more_than_is_used() {
    let named = rooms::named();
    let uses = rooms::uses(named);
    for (room, row) in table() {
        // `cli` puts the rooms together and may use all.
        for granted in row.uses.iter().filter(|_| room != "cli") {
            assert!(
                uses.contains_key(&(room.as_str(), granted.as_str())),
                "`{room}` does not use `{granted}`: take it out of its row in docs/architecture.md"
            );
        }
    }
}

#[test]
fn there_is_no_circle_between_rooms() {
    let (table, named) = (table(), rooms::named());
    let used: Vec<(&str, &str)> = rooms::uses(named).into_keys().collect();
    let mut granted = Vec::new();
    for (room, row) in &table {
        granted.extend(row.uses.iter().map(|used| (room.as_str(), used.as_str())));
    }
    for (what, arrows) in [("uses", used), ("the table", granted)] {
        let (_, left) = rooms::floors(table.keys().map(String::as_str), &arrows);
        assert!(
            left.is_empty(),
            "there is a circle in {what}: in or above it are {left:?}"
        );
    }
}

/// Prints the drawing of what uses what: `make drawing`.
#[test]
fn drawing() {
    print!("{}", rooms::drawing(&table(), rooms::named()));
}

#[test]
fn the_pages_made_from_the_code_say_what_it_says() {
    for (page, made) in [
        ("docs/reference.md", narthex::testing::cli::reference::markdown()),
        (
            "docs/annotations.md",
            narthex::testing::dialect::annotations::markdown(),
        ),
        (
            "docs/annotations.schema.json",
            narthex::testing::dialect::annotations::schema(),
        ),
        (
            "docs/from-ingress-nginx.md",
            narthex::testing::dialect::annotations::nginx::markdown(),
        ),
        (
            "docs/from-openshift.md",
            narthex::testing::dialect::annotations::openshift::markdown(),
        ),
        ("docs/openapi.json", narthex::testing::admin::openapi().to_owned()),
    ] {
        let written = fs::read_to_string(root().join(page));
        let written = written.expect("the page is there");
        assert!(
            written == made,
            "{page} is not what the code says: run `make reference`"
        );
    }
}

/// The one file that may use regular expressions.
const PATTERNS: &str = "src/table/patterns.rs";

/// Row 41 of the threat table. Engines that go back and try again take exponential time for some patterns; `regex` does not.
#[test]
fn regular_expressions_take_linear_time_and_stay_in_one_file() {
    for rooms::Named { at, target, .. } in rooms::named() {
        let Target::Crate(name) = target else { continue };
        let one = name == "regex" && at.starts_with(&format!("{PATTERNS}:"));
        let engine = name.contains("regex") || name.starts_with("pcre") || name.starts_with("onig");
        assert!(
            one || !engine,
            "{at}: regular expressions are for {PATTERNS} alone, by the crate `regex`"
        );
    }
}

/// Clients and pods are spoken HTTP/1.1 with by our own code; hyper is for HTTP/2 to pods.
#[test]
fn nothing_on_the_request_path_speaks_http1_by_hyper() {
    for rooms::Named { at, .. } in rooms::named() {
        let on_the_path = ["src/serve/", "src/proxy/", "src/upstream/"];
        if !on_the_path.iter().any(|room| at.starts_with(room)) {
            continue;
        }
        let file = at.split(':').next().unwrap_or_default();
        let text = fs::read_to_string(root().join(file)).expect("a file that was read before");
        assert!(
            !text.contains("conn::http1"),
            "{at}: HTTP/1.1 is spoken by `http1` here"
        );
    }
}

/// The threat table of docs/security.md names a test for each row, and each of those is there.
#[test]
fn the_threat_table_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    let table = page.split("## The threat table").nth(1).expect("the table");
    let table = table.split("\n## ").next().expect("its end");
    let mut rows = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(row) = cells.first().and_then(|cell| cell.parse::<u32>().ok()) else {
            continue;
        };
        rows.push(row);
        let tests: Vec<&str> = cells
            .last()
            .map(|cell| cell.split('`').skip(1).step_by(2).collect())
            .unwrap_or_default();
        assert!(!tests.is_empty(), "row {row} names no test");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap_or((test, ""));
            let path = [root().join("tests").join(file), root().join(file)];
            let path = path.iter().find(|path| path.exists());
            let path = path.unwrap_or_else(|| panic!("row {row}: there is no {file}"));
            let found =
                name.is_empty() || fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {name}(")));
            assert!(found, "row {row}: there is no {test}");
        }
    }
    assert_eq!(rows, (1..=45).collect::<Vec<u32>>());
}
