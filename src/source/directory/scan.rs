//! Which files there are: folders walked, hidden names passed over, symbolic links followed.

use super::parse::{STDIN, STDIN_ARGUMENT, reason};
use crate::model::{Code, Diagnostic, Location};
use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep folders may nest below the one named.
const MAX_DEPTH: usize = 32;
/// How many files are read at most.
const MAX_FILES: usize = 100_000;

/// A file, in the order files are read: by the argument that leads to it, then by path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// Which of the paths given.
    pub root: usize,
    /// The file.
    pub path: PathBuf,
}

impl FileKey {
    fn of_stdin(root: usize) -> Self {
        Self {
            root,
            path: PathBuf::from(STDIN),
        }
    }
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    pub id: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file, links followed.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            id: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What is there.
#[derive(Debug, Default)]
pub struct Scan {
    /// The files, in order.
    pub files: Vec<(FileKey, Stamp)>,
    /// The folders walked, each with device and inode.
    pub folders: Vec<(PathBuf, (u64, u64))>,
    /// Files reached by a link: where they really are, and what they are called here.
    pub links: HashMap<PathBuf, PathBuf>,
    /// Which of the paths given are not there.
    pub missing: HashSet<usize>,
    /// Paths that are there, but what is in them cannot be known: no descriptor is left, or no right to read.
    pub closed: Vec<PathBuf>,
    /// What is wrong with the paths given.
    pub problems: Vec<Diagnostic>,
    seen: HashSet<(u64, u64)>,
}

/// Looks at all the paths given. `pipes` says whether a file named may be something that can be read only once, and `-`
/// is standard input.
pub fn scan(roots: &[PathBuf], pipes: bool) -> Scan {
    let mut scan = Scan::default();
    for (root, path) in roots.iter().enumerate() {
        if pipes && path.to_str() == Some(STDIN_ARGUMENT) {
            // It can be read once.
            if !scan.files.iter().any(|(key, _)| key.path.to_str() == Some(STDIN)) {
                scan.files.push((FileKey::of_stdin(root), Stamp::default()));
            }
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => scan.folder(root, path, &metadata, 0),
            Ok(metadata) if metadata.is_file() || pipes => scan.file(root, path.clone(), &metadata),
            Ok(_) => scan.problem(path, "neither a file nor a folder"),
            Err(error) => {
                scan.missing.insert(root);
                scan.cannot_read(path, &error);
                scan.problem(path, format!("cannot be read: {}", reason(&error)));
            }
        }
    }
    scan
}

impl Scan {
    fn problem(&mut self, path: &Path, message: impl Into<String>) {
        self.problems.push(Diagnostic {
            object: None,
            field: String::new(),
            code: Code::InvalidManifest,
            message: message.into(),
            location: Some(Location {
                file: path.to_owned(),
                line: 0,
                column: 0,
            }),
        });
    }

    fn cannot_read(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.closed.push(path.to_owned());
        }
    }

    fn file(&mut self, root: usize, path: PathBuf, metadata: &Metadata) {
        if self.files.len() >= MAX_FILES {
            if self.files.len() == MAX_FILES {
                self.problem(
                    &path,
                    format!("more than {MAX_FILES} files: this one and those after it are not read"),
                );
            }
            return;
        }
        let stamp = Stamp::of(metadata);
        // One file by two ways (a folder, and a file in it) is one file.
        if !self.seen.insert(stamp.id) {
            return;
        }
        if fs::symlink_metadata(&path).is_ok_and(|link| link.is_symlink())
            && let Ok(real) = fs::canonicalize(&path)
        {
            self.links.insert(real, path.clone());
        }
        self.files.push((FileKey { root, path }, stamp));
    }

    fn folder(&mut self, root: usize, path: &Path, metadata: &Metadata, depth: usize) {
        let id = (metadata.dev(), metadata.ino());
        if !self.seen.insert(id) {
            return;
        }
        if depth > MAX_DEPTH {
            return self.problem(path, format!("folders nested more than {MAX_DEPTH} deep"));
        }
        self.folders.push((path.to_owned(), id));
        let listed = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut paths: Vec<PathBuf> = match listed {
            Ok(entries) => entries.iter().map(fs::DirEntry::path).collect(),
            Err(error) => {
                self.cannot_read(path, &error);
                return self.problem(path, format!("cannot be read: {}", reason(&error)));
            }
        };
        paths.sort();
        for path in paths {
            // `.git`, an editor's swap file, and a ConfigMap mount's `..data`, whose files are linked from beside it.
            if path
                .file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
            {
                continue;
            }
            // A file that went away meanwhile is simply not there.
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) => {
                    self.cannot_read(&path, &error);
                    continue;
                }
            };
            if metadata.is_dir() {
                self.folder(root, &path, &metadata, depth + 1);
            } else if metadata.is_file() && is_manifest(&path) {
                self.file(root, path, &metadata);
            }
        }
    }
}

/// Whether a file in a folder is read.
pub fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
