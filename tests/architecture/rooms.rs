//! The rooms: what docs/architecture.md lets each use, and what each uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::rust::{self, Target};

/// A row of the table of rooms.
#[derive(Debug, Default)]
pub struct Row {
    /// The rooms it may use.
    pub uses: BTreeSet<String>,
    /// The crates it must not use, nor those whose names begin with one of these and a `_`.
    pub without: BTreeSet<String>,
}

pub type Table = BTreeMap<String, Row>;

/// A name in a file of a room.
#[derive(Clone, Debug)]
pub struct Named {
    pub room: String,
    pub at: String,
    pub target: Target,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The table under "## Rooms".
pub fn table(page: &str) -> Table {
    let rows = page.split("\n## Rooms\n").nth(1).expect("a chapter about rooms");
    let rows = rows.split("\n## ").next().expect("its end");
    let rows: Vec<Vec<&str>> = rows
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let names: Vec<String> = rows.iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect();
    let row = |cells: &Vec<&str>| {
        let [room, _, uses, without] = cells.as_slice() else {
            panic!("a row has four cells: {cells:?}");
        };
        let uses = match *uses {
            "all" => names
                .iter()
                .filter(|name| room.trim_matches('`') != *name)
                .cloned()
                .collect(),
            uses => quoted(uses).map(str::to_owned).collect(),
        };
        let without = quoted(without).map(str::to_owned).collect();
        (room.trim_matches('`').to_owned(), Row { uses, without })
    };
    let table: Table = rows.iter().map(row).collect();
    assert_eq!(table.len(), names.len(), "a room has two rows");
    table
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The path of the module that a file in src/ is.
fn module(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(root().join("src")).expect("a file in src");
    let mut names: Vec<String> = inside
        .with_extension("")
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// What each file of src/ names, without modules for tests. The crate's roots, lib.rs and main.rs, are no rooms.
pub fn named() -> &'static [Named] {
    static NAMED: LazyLock<Vec<Named>> = LazyLock::new(read_all);
    &NAMED
}

fn read_all() -> Vec<Named> {
    let mut all = Vec::new();
    files(&root().join("src"), &mut all);
    all.sort();
    let read: Vec<_> = all
        .into_iter()
        .map(|path| (module(&path), path))
        .filter(|(module, _)| !matches!(module.as_slice(), [root] if root == "lib" || root == "main"))
        .map(|(module, path)| {
            let text = fs::read_to_string(&path).expect("a readable file");
            let file = rust::read(&text, &module);
            (module, path, file)
        })
        .collect();
    let tests: Vec<Vec<String>> = read.iter().flat_map(|(_, _, file)| file.tests.clone()).collect();
    let mut found = Vec::new();
    for (module, path, file) in read {
        if tests.iter().any(|tests| module.starts_with(tests)) {
            continue;
        }
        let path = path.strip_prefix(root()).expect("a file of ours").display();
        for (target, line) in file.named {
            found.push(Named {
                room: module[0].clone(),
                at: format!("{path}:{line}"),
                target,
            });
        }
    }
    found
}

/// What must not be named where it is.
pub fn offences(table: &Table, named: &[Named]) -> Vec<String> {
    let mut found = Vec::new();
    for Named { room, at, target } in named {
        let Some(row) = table.get(room) else {
            found.push(format!("{at}: `{room}` is in no row of the table"));
            continue;
        };
        match target {
            Target::Room(used) if used == room || row.uses.contains(used) => {}
            Target::Room(used) => found.push(format!("{at}: `{room}` may not use `{used}`")),
            Target::Root => found.push(format!("{at}: what is used of the crate's root cannot be seen")),
            Target::Hidden(how) => found.push(format!("{at}: {how} hides what is used")),
            Target::Crate(name) => {
                let is = |family: &String| {
                    let rest = name.strip_prefix(family.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
                };
                if row.without.iter().any(is) {
                    found.push(format!("{at}: `{room}` may not use the crate `{name}`"));
                }
            }
        }
    }
    found
}

/// How many times each room names another.
pub fn uses(named: &[Named]) -> BTreeMap<(&str, &str), usize> {
    let mut found = BTreeMap::new();
    for Named { room, target, .. } in named {
        if let Target::Room(used) = target
            && used != room
        {
            *found.entry((room.as_str(), used.as_str())).or_default() += 1;
        }
    }
    found
}

/// The rooms floor by floor, the ground floor first, and those that are left because they stand in or above a circle.
pub fn floors<'r>(
    rooms: impl Iterator<Item = &'r str>,
    uses: &[(&'r str, &'r str)],
) -> (Vec<Vec<&'r str>>, Vec<&'r str>) {
    let mut left: Vec<&str> = rooms.collect();
    let mut floors: Vec<Vec<&str>> = Vec::new();
    loop {
        let stands = |room: &&str| !uses.iter().any(|(user, used)| user == room && left.contains(used));
        let (floor, above): (Vec<&str>, Vec<&str>) = left.iter().copied().partition(stands);
        left = above;
        if floor.is_empty() {
            return (floors, left);
        }
        floors.push(floor);
    }
}

/// The drawing, in Graphviz' language: rooms of a floor beside each other, an arrow to each room that is used.
pub fn drawing(table: &Table, named: &[Named]) -> String {
    let counted = uses(named);
    let arrows: Vec<(&str, &str)> = counted.keys().copied().collect();
    let (floors, _) = floors(table.keys().map(String::as_str), &arrows);
    let mut text = String::from("digraph rooms {\n  rankdir=TB; node [shape=box];\n");
    for floor in floors.iter().rev() {
        text += &format!("  {{ rank=same; {}; }}\n", floor.join("; "));
    }
    for ((user, used), times) in &counted {
        text += &format!("  {user} -> {used} [label={times}];\n");
    }
    text + "}\n"
}
