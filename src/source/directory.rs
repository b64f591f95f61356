//! Objects from files: a folder of manifests instead of a cluster.
//!
//! [`load`] reads them once, for `check` and `explain`; [`run`] goes on watching.

pub mod node;
pub mod parse;
mod scan;
pub mod yaml;

use crate::model::{Diagnostic, Location, Object};
use std::collections::HashMap;
use std::path::PathBuf;

/// What a set of files holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The objects, in the order of the files and in each file's order, with the place of each.
    pub objects: Vec<(Object, Location)>,
    /// What is wrong with the files.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads files and folders once.
///
/// A folder is read with all folders in it: `.yaml`, `.yml` and `.json`, hidden names left out. A file that is named
/// is read whatever its name. An object that two files give is taken from the first.
pub fn load(paths: &[PathBuf]) -> Loaded {
    let found = scan::scan(paths, true);
    let mut loaded = Loaded {
        objects: Vec::new(),
        diagnostics: found.problems,
    };
    let mut seen = HashMap::new();
    for (key, _) in &found.files {
        let parsed = match parse::read(&key.path) {
            Ok(text) => parse::parse(&key.path, &text),
            Err(diagnostic) => {
                loaded.diagnostics.push(diagnostic);
                continue;
            }
        };
        loaded.diagnostics.extend(parsed.diagnostics);
        for (object, location) in parsed.objects {
            let reference = object.reference();
            if let Some(first) = seen.get(&reference) {
                loaded
                    .diagnostics
                    .push(parse::given_twice(&reference, first, &location));
                continue;
            }
            seen.insert(reference, location.clone());
            loaded.objects.push((object, location));
        }
    }
    loaded
}
