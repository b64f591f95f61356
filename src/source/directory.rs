//! Objects from files: a folder of manifests instead of a cluster.
//!
//! [`load`] reads them once, for `check` and `explain`; [`run`] goes on watching.

mod excerpt;
pub mod locate;
pub mod node;
pub mod parse;
mod scan;
mod state;
pub(super) mod validate;
mod watch;
pub mod yaml;

pub use excerpt::lines;
pub use state::Places;

use super::{Sender, Watches};
use crate::dialect::Object;
use crate::model::{Diagnostic, Location};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

/// What a set of files holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The objects, in the order of the files and in each file's order, with the place of each.
    pub objects: Vec<(Object, Location)>,
    /// What is wrong with the files.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects that are as good as broken, since annotations of theirs need quotes, as they are with quotes.
    pub quoted: Vec<(Object, Location)>,
    /// What the API server would refuse, although narthex makes do.
    pub refused: Vec<Diagnostic>,
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
        quoted: Vec::new(),
        refused: Vec::new(),
    };
    let mut seen = HashMap::new();
    for (key, _) in &found.files {
        let parsed = match parse::read(&key.path) {
            Ok(text) => parse::parse_strictly(&key.path, &text),
            Err(diagnostic) => {
                loaded.diagnostics.push(*diagnostic);
                continue;
            }
        };
        loaded.diagnostics.extend(parsed.diagnostics);
        loaded.refused.extend(parsed.refused);
        let mut guarded = Vec::new();
        for broken in parsed.broken {
            guarded.extend(broken.guarded);
            loaded.quoted.extend(broken.quoted.map(|quoted| *quoted));
        }
        for (object, location) in parsed.objects.into_iter().chain(guarded) {
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

/// The files that these paths lead to, in the order they are read, and what is wrong with the paths.
pub fn files(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Diagnostic>) {
    let found = scan::scan(paths, true);
    let files = found.files.into_iter().map(|(key, _)| key.path).collect();
    (files, found.problems)
}

/// Whether paths are there that are about to be followed. One that goes away later keeps what it held, but of one that
/// was never there nothing is known: a slip of the pen would serve nothing at all.
///
/// # Errors
/// Which path cannot be read, and why.
pub fn are_there(paths: &[PathBuf]) -> Result<(), String> {
    paths.iter().try_for_each(|path| match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("--manifests {}: {}", path.display(), parse::reason(&error))),
    })
}

/// What the watch of these paths is called: `manifests /etc/narthex, extra.yaml`.
pub fn watch_name(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("manifests {}", paths.join(", "))
}

/// Reads files and folders, and goes on sending what changes, until the receiver is gone or this future is dropped.
///
/// First one [`Change::Replace`](crate::dialect::Change::Replace) for every kind, what is wrong with the files, and
/// [`Event::Synced`](super::Event::Synced); then changes, those that were found together as one. Reading and parsing happen on a thread of their own.
pub async fn run(paths: Vec<PathBuf>, sender: Sender, watches: Arc<Watches>) {
    run_and_tell(paths, sender, watches, Places::default()).await;
}

/// As [`run`]; meanwhile `places` knows where everything is.
pub async fn run_and_tell(paths: Vec<PathBuf>, sender: Sender, watches: Arc<Watches>, places: Places) {
    let name = watch_name(&paths);
    watches.register(&name, true);
    let (signals, heard) = mpsc::channel();
    // Dropped with this future, it tells the thread to stop.
    let stop = Stop(signals.clone());
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let watching = watch::Watching::new(paths, name.clone(), sender.clone(), watches.clone(), places, signals);
    let thread = std::thread::Builder::new().name("manifests".to_owned()).spawn(move || {
        watching.follow(&heard);
        drop(ended);
    });
    if let Err(error) = thread {
        tracing::error!(%error, "cannot start the thread that reads manifests");
        return watches.failing(&name, format!("cannot start a thread: {error}"));
    }
    tokio::select! {
        _ = end => {}
        () = sender.closed() => {}
    }
    drop(stop);
}

struct Stop(mpsc::Sender<watch::Signal>);

impl Drop for Stop {
    fn drop(&mut self) {
        // A thread that has ended needs no telling.
        let _ = self.0.send(watch::Signal::Stop);
    }
}
