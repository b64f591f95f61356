//! Files that are not there any more, and paths that are missing as a whole: what those held stays in use.

use super::Watching;
use crate::model::Diagnostic;
use crate::source::directory::scan::FileKey;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a file must be gone: some editors move the old one away before the new one is there.
const GONE: Duration = Duration::from_millis(40);
/// How long a file of a path given must be gone after that was gone as a whole and is back: a folder that is replaced is
/// filled again file by file.
const BACK: Duration = Duration::from_secs(1);
impl Watching {
    /// When a file is believed to be gone that has not been seen since some moment; never as long as the path it came
    /// with is missing as a whole: somebody is replacing that, or it is mounted no more.
    pub(super) fn believed(&self, key: &FileKey, since: Instant) -> Option<Instant> {
        if self.missing.contains(&key.root) {
            return None;
        }
        let back = self.back.get(&key.root).map(|back| *back + BACK);
        Some(back.unwrap_or(since).max(since + GONE))
    }

    /// Says of paths that are missing what becomes of what they held.
    pub(super) fn with_what_stays(&self, mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let lost = self
            .missing
            .iter()
            .filter(|root| self.known.keys().any(|key| key.root == **root));
        let lost: Vec<&PathBuf> = lost.filter_map(|root| self.roots.get(*root)).collect();
        for problem in &mut problems {
            let file = problem.location.as_ref().map(|location| &location.file);
            if file.is_some_and(|file| lost.contains(&file)) {
                problem.message += "; what it held stays in use until it is there again";
            }
        }
        problems
    }

    /// Notes which of the paths given are missing now, and says so.
    pub(super) fn note_missing(&mut self, missing: &HashSet<usize>) {
        let path = |root: &usize| self.roots.get(*root).map(|path| path.display().to_string());
        for root in missing.difference(&self.missing) {
            if self.known.keys().any(|key| key.root == *root) {
                let path = path(root).unwrap_or_default();
                tracing::warn!(path, "the path is gone: its objects stay in use until it exists again");
            }
        }
        for root in self.missing.difference(missing) {
            tracing::info!(path = path(root).unwrap_or_default(), "the path exists again");
            self.back.insert(*root, Instant::now());
        }
        self.missing.clone_from(missing);
    }
}
