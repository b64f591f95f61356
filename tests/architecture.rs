//! The house rules that `use` lines can break: who may import whom (docs/architecture.md).

#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a room is a folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "src/{room} has no files");
    found
}

/// Lines of a room that name one of these crates or rooms, in `use` or by path. Comments and tests do not count.
fn offences(room: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(room) {
        let name = path.display().to_string();
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable file");
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default();
            if forbidden.iter().any(|word| code.contains(&format!("{word}::"))) {
                found.push(format!("{name}:{}: {line}", number + 1));
            }
        }
    }
    found
}

#[test]
fn rooms_import_only_what_they_may() {
    let kube: &[&str] = &["kube", "k8s_openapi"];
    let rules: &[(&str, &[&str])] = &[
        (
            "model",
            &[
                "crate::table",
                "crate::compile",
                "crate::source",
                "tokio",
                "hyper",
                "kube",
                "k8s_openapi",
            ],
        ),
        (
            "table",
            &[
                "crate::compile",
                "crate::source",
                "crate::control",
                "crate::proxy",
                "tokio",
                "hyper",
                "kube",
                "k8s_openapi",
            ],
        ),
        (
            "compile",
            &[
                "crate::source",
                "crate::control",
                "crate::proxy",
                "tokio",
                "hyper",
                "kube",
                "k8s_openapi",
            ],
        ),
        (
            "upstream",
            &["crate::proxy", "crate::serve", "crate::compile", "crate::control"],
        ),
        (
            "policy",
            &[
                "crate::proxy",
                "crate::upstream",
                "crate::serve",
                "crate::compile",
                "crate::control",
                "tokio",
                "hyper",
            ],
        ),
        (
            "proxy",
            &["crate::serve", "crate::compile", "crate::control", "crate::admin"],
        ),
        (
            "serve",
            &["crate::compile", "crate::control", "crate::admin", "crate::source"],
        ),
        (
            "source",
            &["crate::compile", "crate::control", "crate::proxy", "crate::table"],
        ),
        ("control", &["crate::admin", "crate::cli"]),
        (
            "peers",
            &[
                "crate::admin",
                "crate::cli",
                "crate::control",
                "crate::serve",
                "crate::status",
            ],
        ),
    ];
    let mut found = Vec::new();
    for (room, forbidden) in rules {
        found.extend(offences(room, forbidden));
    }
    for room in ["table", "policy", "proxy", "upstream", "serve"] {
        found.extend(offences(room, kube));
    }
    assert!(
        found.is_empty(),
        "imports against docs/architecture.md:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_pages_made_from_the_code_say_what_it_says() {
    for (page, made) in [
        ("docs/reference.md", narthex::cli::reference::markdown()),
        ("docs/annotations.md", narthex::compile::annotations::markdown()),
        ("docs/annotations.schema.json", narthex::compile::annotations::schema()),
        ("docs/openapi.json", narthex::admin::openapi().to_owned()),
    ] {
        let written = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
        let written = written.expect("the page is there");
        assert!(
            written == made,
            "{page} is not what the code says: run `make reference`"
        );
    }
}

/// Row 41 of the threat table: no tenant's text becomes a regular expression, so none can be dear.
#[test]
fn there_are_no_regular_expressions() {
    for room in [
        "model", "table", "compile", "source", "control", "upstream", "policy", "proxy", "serve", "admin",
    ] {
        let found = offences(room, &["regex", "fancy_regex", "regex_lite"]);
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// The threat table of docs/security.md names a test for each row, and each of those is there.
#[test]
fn the_threat_table_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).expect("the page");
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
            let path = [root.join("tests").join(file), root.join(file)];
            let path = path.iter().find(|path| path.exists());
            let path = path.unwrap_or_else(|| panic!("row {row}: there is no {file}"));
            let found =
                name.is_empty() || fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {name}(")));
            assert!(found, "row {row}: there is no {test}");
        }
    }
    assert_eq!(rows, (1..=44).collect::<Vec<u32>>());
}
