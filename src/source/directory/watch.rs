//! Following the files: inotify says that something happened, a look at the files says what.
//!
//! Folders are watched, never files: an editor that writes a new file and renames it would leave a watched file
//! behind. Every folder is watched before it is listed, so nothing can slip in between. A look every few seconds
//! catches what inotify does not see (a network file system, the far end of a symbolic link).

use super::parse;
use super::scan::{self, FileKey, Scan, Stamp};
use super::state::{Places, Update};
use crate::source::{Event, Sender, Watches};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Signals};
use std::time::{Duration, Instant};

/// How long to wait for more of the same after an event, and how long at most.
const QUIET: Duration = Duration::from_millis(4);
const GATHER: Duration = Duration::from_millis(16);
/// How long a file that is being written, or has become empty, must stay unchanged to be taken as it is.
const SETTLED: Duration = Duration::from_secs(1);
/// How often to look without being told.
const LOOK: Duration = Duration::from_secs(10);
/// How often to look when inotify cannot tell, or a path given is missing.
const LOOK_OFTEN: Duration = Duration::from_secs(1);

/// What wakes the watching thread.
pub enum Signal {
    /// inotify.
    File(notify::Result<notify::Event>),
    /// The program has had enough.
    Stop,
}

/// Whether an event can matter; our own reading makes many that do not.
fn matters(event: &notify::Result<notify::Event>) -> bool {
    event.as_ref().map_or(true, |event| {
        event.need_rescan()
            || !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
    })
}

/// A file as it was last seen.
struct Known {
    stamp: Stamp,
    /// Not taken as it is yet, since when.
    unsettled: Option<Instant>,
    /// Gone, since when.
    gone: Option<Instant>,
}

/// Everything the watching thread has.
pub struct Watching {
    roots: Vec<PathBuf>,
    name: String,
    sender: Sender,
    watches: Arc<Watches>,
    places: Places,
    known: BTreeMap<FileKey, Known>,
    by_path: HashMap<PathBuf, FileKey>,
    notifier: Option<RecommendedWatcher>,
    watched: HashMap<PathBuf, (u64, u64)>,
    folders: HashSet<PathBuf>,
    links: HashMap<PathBuf, PathBuf>,
    missing: HashSet<usize>,
    /// Which of the paths given were missing, and since when they are not any more.
    back: HashMap<usize, Instant>,
    /// Paths that could not be looked into.
    closed: Vec<PathBuf>,
    /// Why inotify does not tell everything.
    deaf: Option<String>,
    /// Files that somebody has written to and not closed.
    writing: HashSet<PathBuf>,
    dirty: HashSet<PathBuf>,
    look: bool,
    looked: Instant,
}

/// The path inotify uses for a path.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Watching {
    /// Prepares to watch; nothing is read yet.
    pub fn new(
        roots: Vec<PathBuf>,
        name: String,
        sender: Sender,
        watches: Arc<Watches>,
        places: Places,
        signals: Signals<Signal>,
    ) -> Self {
        let notifier = notify::recommended_watcher(move |event| {
            if matters(&event) {
                // Nobody listens any more: then nobody misses it.
                let _ = signals.send(Signal::File(event));
            }
        });
        let (notifier, deaf) = match notifier {
            Ok(notifier) => (Some(notifier), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            roots,
            name,
            sender,
            watches,
            places,
            known: BTreeMap::new(),
            by_path: HashMap::new(),
            notifier,
            watched: HashMap::new(),
            folders: HashSet::new(),
            links: HashMap::new(),
            missing: HashSet::new(),
            back: HashMap::new(),
            closed: Vec::new(),
            deaf,
            writing: HashSet::new(),
            dirty: HashSet::new(),
            look: true,
            looked: Instant::now(),
        }
    }

    /// Reads everything, then follows it until told to stop or nobody listens.
    pub fn follow(mut self, signals: &Receiver<Signal>) {
        let updates = self.updates();
        self.places.state().update(updates);
        let mut first: Vec<Event> = self
            .places
            .state()
            .everything()
            .into_iter()
            .map(Event::Change)
            .collect();
        first.push(Event::Synced(self.name.clone()));
        if !self.send(first) {
            return;
        }
        while self.wait(signals) {
            let updates = self.updates();
            let Some(updates) = self.confirmed(updates, signals) else {
                return;
            };
            let changes = self.places.state().update(updates);
            if !self.send((!changes.is_empty()).then_some(Event::Together(changes))) {
                return;
            }
        }
    }

    fn send(&self, events: impl IntoIterator<Item = Event>) -> bool {
        self.watches.seen(&self.name);
        if let Some(root) = self.missing.iter().min().and_then(|root| self.roots.get(*root)) {
            let why = format!(
                "{} is not there; what it held before stays in use, and it is read as soon as it is there",
                root.display()
            );
            self.watches.failing(&self.name, why);
        } else if let Some(why) = &self.deaf {
            let why = format!("cannot watch ({why}): looking every second instead");
            self.watches.failing(&self.name, why);
        }
        events.into_iter().all(|event| self.sender.blocking_send(event).is_ok())
    }

    /// Waits for something to do; false means to stop.
    fn wait(&mut self, signals: &Receiver<Signal>) -> bool {
        let due = self.due();
        match signals.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Signal::File(event)) => {
                self.hear(event);
                if !self.gather(signals, QUIET, GATHER) {
                    return false;
                }
            }
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {}
        }
        self.look |= self.looked.elapsed() >= self.pace();
        !self.sender.is_closed()
    }

    /// When to wake up without being told.
    fn due(&self) -> Instant {
        if self.look {
            return Instant::now();
        }
        let files = self.known.iter().flat_map(|(key, known)| {
            let settled = known.unsettled.map(|since| since + SETTLED);
            [settled, known.gone.and_then(|since| self.believed(key, since))]
        });
        files.flatten().fold(self.looked + self.pace(), Instant::min)
    }

    fn pace(&self) -> Duration {
        if self.deaf.is_some() || !self.missing.is_empty() || !self.closed.is_empty() {
            LOOK_OFTEN
        } else {
            LOOK
        }
    }

    /// Notes what an event says.
    fn hear(&mut self, event: notify::Result<notify::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "an error occurred while watching manifests: reading all of them again");
                self.look = true;
                return;
            }
        };
        // The kernel's queue was full: anything may have happened.
        if event.need_rescan() {
            self.look = true;
            self.writing.clear();
            self.dirty.extend(self.by_path.keys().cloned());
            return;
        }
        for path in &event.paths {
            self.hear_path(event.kind, path);
        }
    }

    fn hear_path(&mut self, kind: EventKind, path: &Path) {
        let file = self.links.get(path).cloned().unwrap_or_else(|| path.to_owned());
        let known = self.by_path.contains_key(&file);
        if !known && !self.concerns(path) {
            return;
        }
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                self.writing.remove(&file);
                self.look |= !known;
                self.dirty.insert(file);
            }
            EventKind::Modify(ModifyKind::Data(_)) => {
                // Somebody who never closes it is waited for only so long.
                let known = self.by_path.get(&file).and_then(|key| self.known.get_mut(key));
                match known {
                    Some(known) => known.unsettled = Some(Instant::now()),
                    None => self.look = true,
                }
                self.writing.insert(file);
            }
            EventKind::Create(CreateKind::File) if opened_to_write(path) => {
                self.writing.insert(file);
                self.look = true;
            }
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(_) => {
                let moved = !matches!(kind, EventKind::Modify(ModifyKind::Metadata(_)));
                if moved && self.watched.remove(path).is_some() {
                    // A folder of that name may come back, and must be watched anew.
                    if let Some(notifier) = &mut self.notifier {
                        let _ = notifier.unwatch(path);
                    }
                }
                if moved {
                    self.writing.remove(&file);
                    self.dirty.insert(file);
                }
                self.look = true;
            }
            _ => {}
        }
    }

    /// Whether a path nobody has seen yet can matter: below a folder we walk, one of the paths given, or a ConfigMap
    /// mount's `..data` beside one.
    fn concerns(&self, path: &Path) -> bool {
        let beside = |root: &PathBuf| {
            let root = absolute(root);
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
            root == path || (hidden && root.parent() == path.parent())
        };
        self.folders.contains(path)
            || path.parent().is_some_and(|parent| self.folders.contains(parent))
            || self.roots.iter().any(beside)
    }

    /// Looks at what may have changed, and says what became of it.
    fn updates(&mut self) -> Vec<(FileKey, Update)> {
        let now = Instant::now();
        let dirty = std::mem::take(&mut self.dirty);
        let mut updates = Vec::new();
        if std::mem::take(&mut self.look) {
            let found = self.watched_scan();
            let there: HashSet<&FileKey> = found.files.iter().map(|(key, _)| key).collect();
            for (key, known) in &mut self.known {
                // What cannot be looked into keeps what it had.
                let is_closed = found.closed.iter().any(|path| key.path.starts_with(path));
                if !there.contains(key) && known.gone.is_none() && !is_closed {
                    known.gone = Some(now);
                    updates.push((key.clone(), Update::Fading));
                }
            }
            for (key, stamp) in found.files {
                let path = absolute(&key.path);
                let changed = self
                    .known
                    .get(&key)
                    .is_none_or(|known| known.stamp != stamp || known.gone.is_some());
                if changed || dirty.contains(&path) {
                    self.by_path.insert(path, key.clone());
                    updates.extend(self.read(key, stamp, now));
                }
            }
            self.links = found
                .links
                .into_iter()
                .map(|(real, path)| (real, absolute(&path)))
                .collect();
            let problems = self.with_what_stays(found.problems);
            self.places.state().set_problems(problems);
            self.looked = now;
        } else {
            for path in dirty {
                let Some(key) = self.by_path.get(&path).cloned() else {
                    continue;
                };
                match std::fs::metadata(&key.path) {
                    Ok(metadata) => updates.extend(self.read(key, Stamp::of(&metadata), now)),
                    Err(_) => self.look = true,
                }
            }
        }
        self.overdue(now, &mut updates);
        updates
    }

    /// Walks all paths given; every folder walked has been watched before it was listed.
    fn watched_scan(&mut self) -> Scan {
        loop {
            let found = scan::scan(&self.roots, false);
            let mut wanted: HashMap<PathBuf, (u64, u64)> = HashMap::new();
            // What is given may itself be replaced, or be a link; and a linked file may be edited where it is.
            let roots = self.roots.iter().map(|root| absolute(root));
            let beside = roots
                .chain(found.links.keys().cloned())
                .filter_map(|path| path.parent().map(Path::to_owned));
            for path in beside {
                if let Ok(metadata) = std::fs::metadata(&path) {
                    wanted.insert(path, (metadata.dev(), metadata.ino()));
                }
            }
            self.folders = found.folders.iter().map(|(path, _)| absolute(path)).collect();
            wanted.extend(found.folders.iter().map(|(path, id)| (absolute(path), *id)));
            self.note_missing(&found.missing);
            self.closed.clone_from(&found.closed);
            if !self.watch(wanted) {
                return found;
            }
        }
    }

    /// Watches these folders and no others; true if there was a new one.
    fn watch(&mut self, wanted: HashMap<PathBuf, (u64, u64)>) -> bool {
        let Some(notifier) = &mut self.notifier else {
            return false;
        };
        self.watched.retain(|path, id| {
            let keep = wanted.get(path) == Some(id);
            if !keep {
                let _ = notifier.unwatch(path);
            }
            keep
        });
        let mut new = false;
        self.deaf = None;
        for (path, id) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match notifier.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, id);
                    new = true;
                }
                // Gone again; the folder above says so.
                Err(_) if !path.exists() => {}
                Err(error) => self.deaf = Some(error.to_string()),
            }
        }
        new
    }

    /// Reads a file that changed, unless it is in the middle of changing.
    fn read(&mut self, key: FileKey, stamp: Stamp, now: Instant) -> Option<(FileKey, Update)> {
        let settling = self.writing.contains(&absolute(&key.path));
        let update = if settling { None } else { read(&key, stamp) };
        let emptied = |update: &Update| {
            let Update::Read(parsed) = update else {
                return false;
            };
            parsed.whole
                && parsed.objects.is_empty()
                && parsed.broken.is_empty()
                && self.places.state().holds_objects(&key)
        };
        let update = update.filter(|update| !emptied(update));
        let unsettled = update.is_none().then_some(now);
        self.known.insert(
            key.clone(),
            Known {
                stamp,
                unsettled,
                gone: None,
            },
        );
        update.map(|update| (key, update))
    }

    /// Deals with files that have been unsettled or gone for long enough.
    fn overdue(&mut self, now: Instant, updates: &mut Vec<(FileKey, Update)>) {
        let due: Vec<FileKey> = self
            .known
            .iter()
            .filter(|(key, known)| {
                known.unsettled.is_some_and(|since| now >= since + SETTLED)
                    || known
                        .gone
                        .and_then(|since| self.believed(key, since))
                        .is_some_and(|due| now >= due)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let path = absolute(&key.path);
            match (std::fs::metadata(&key.path), self.known.get_mut(&key)) {
                (Ok(metadata), Some(known)) if known.gone.is_none() => {
                    let stamp = Stamp::of(&metadata);
                    if known.stamp != stamp {
                        (known.stamp, known.unsettled) = (stamp, Some(now));
                        continue;
                    }
                    known.unsettled = None;
                    self.writing.remove(&path);
                    match read(&key, stamp) {
                        Some(update) => updates.push((key, update)),
                        None => known.unsettled = Some(now),
                    }
                }
                // Back, but not among those listed: hidden behind another path, or just this moment there again.
                (Ok(_), _) if self.looked < now => self.look = true,
                _ => {
                    self.known.remove(&key);
                    self.by_path.remove(&path);
                    self.writing.remove(&path);
                    updates.push((key, Update::Removed));
                }
            }
        }
    }
}

/// Reads a file; nothing if it changed meanwhile.
fn read(key: &FileKey, stamp: Stamp) -> Option<Update> {
    let update = match parse::read(&key.path) {
        Ok(text) => {
            let after = std::fs::metadata(&key.path).ok().map(|metadata| Stamp::of(&metadata));
            if after != Some(stamp) {
                return None;
            }
            Update::Read(parse::parse(&key.path, &text))
        }
        Err(diagnostic) => Update::Unreadable(*diagnostic),
    };
    Some(update)
}

/// Whether a file that has just been made is open for writing, so that it will be closed: a link is not.
fn opened_to_write(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

mod confirm;
mod missing;
#[cfg(test)]
mod tests;
