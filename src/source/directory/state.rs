//! What the files hold together, and what a change of some of them changes.
//!
//! All files that changed at once are taken in before anything is compared, so an object that moves from one file to
//! another never goes away in between.

use super::parse::{Parsed, given_twice};
use super::scan::FileKey;
use crate::dialect::{Change, Object};
use crate::model::{Diagnostic, Kind, Location, ObjectRef};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// From how many changed objects of a kind on the whole kind is sent at once, which is one step for the compiler.
const REPLACE_FROM: usize = 256;

/// What became of a file.
#[derive(Debug)]
pub enum Update {
    /// It was read.
    Read(Parsed),
    /// It is there but cannot be read: what it held stays.
    Unreadable(Diagnostic),
    /// It seems to be gone. What it held stays for now, but gives way to any other file that has the same object.
    Fading,
    /// It is gone.
    Removed,
}

#[derive(Debug, Default)]
struct FileState {
    objects: HashMap<ObjectRef, (Object, Location)>,
    diagnostics: Vec<Diagnostic>,
    /// Whether `objects` is all of a file that was read to its end.
    whole: bool,
    fading: bool,
}

/// All files and what they hold.
#[derive(Debug, Default)]
pub struct State {
    files: BTreeMap<Arc<FileKey>, FileState>,
    /// Which files have an object.
    owners: HashMap<ObjectRef, Vec<Arc<FileKey>>>,
    /// Objects that several files have.
    contested: BTreeSet<ObjectRef>,
    problems: Vec<Diagnostic>,
    said: Option<Vec<Diagnostic>>,
}

/// All files and what they hold, for whoever asks while they are followed.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<Mutex<State>>);

impl Places {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an object is that counts.
    pub fn of(&self, object: &ObjectRef) -> Option<Location> {
        self.state().winner(object).map(|(_, place)| place.clone())
    }
}

impl State {
    /// Whether a file held any object when it was last read.
    pub fn holds_objects(&self, key: &FileKey) -> bool {
        self.files.get(key).is_some_and(|file| !file.objects.is_empty())
    }

    /// Sets what is wrong with the paths as such.
    pub fn set_problems(&mut self, problems: Vec<Diagnostic>) {
        self.problems = problems;
    }

    /// Takes in what became of some files, and returns what that changes.
    pub fn update(&mut self, updates: Vec<(FileKey, Update)>) -> Vec<Change> {
        let mut before: HashMap<ObjectRef, Option<Object>> = HashMap::new();
        for (key, update) in updates {
            self.take(Arc::new(key), update, &mut before);
        }
        let mut changed: BTreeMap<Kind, Vec<Change>> = BTreeMap::new();
        for (reference, old) in before {
            let new = self.winner(&reference).map(|(object, _)| object);
            let change = match (old, new) {
                (Some(old), Some(new)) if old == *new => continue,
                (None, None) => continue,
                (_, Some(new)) => Change::Apply(new.clone()),
                (Some(_), None) => Change::Delete(reference.clone()),
            };
            changed.entry(reference.kind).or_default().push(change);
        }
        // Backends before the rules that name them; of one kind, what is new before what goes.
        let mut changes = Vec::new();
        for (kind, mut of_kind) in changed.into_iter().rev() {
            if of_kind.len() >= REPLACE_FROM {
                changes.push(self.replace(kind));
                continue;
            }
            of_kind.sort_by_cached_key(|change| match change {
                Change::Apply(object) => (false, Some(object.reference())),
                Change::Delete(reference) => (true, Some(reference.clone())),
                _ => (true, None),
            });
            changes.append(&mut of_kind);
        }
        changes.extend(self.diagnostics());
        changes
    }

    /// Everything, as a first list: every kind, and the diagnostics.
    pub fn everything(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = Kind::ALL.iter().rev().map(|kind| self.replace(*kind)).collect();
        self.said = None;
        changes.extend(self.diagnostics());
        changes
    }

    fn replace(&self, kind: Kind) -> Change {
        let mut of_kind: Vec<&ObjectRef> = self.owners.keys().filter(|object| object.kind == kind).collect();
        of_kind.sort();
        let objects = of_kind
            .into_iter()
            .filter_map(|reference| Some(self.winner(reference)?.0.clone()))
            .collect();
        Change::Replace {
            kind,
            namespace: None,
            objects,
            broken: Vec::new(),
        }
    }

    /// The object that counts: that of the first file, a file that is going last.
    fn winner(&self, reference: &ObjectRef) -> Option<&(Object, Location)> {
        self.owners
            .get(reference)?
            .iter()
            .filter_map(|key| Some((key, self.files.get(key)?)))
            .min_by_key(|(key, file)| (file.fading, *key))
            .and_then(|(_, file)| file.objects.get(reference))
    }

    fn take(&mut self, key: Arc<FileKey>, update: Update, before: &mut HashMap<ObjectRef, Option<Object>>) {
        let old = self.files.get(&key);
        let next = match update {
            Update::Removed => None,
            Update::Fading => {
                let Some(old) = old else { return };
                // Another file that defines the same objects may come first now.
                let shared = old.objects.keys().filter(|object| self.contested.contains(*object));
                let shared: Vec<ObjectRef> = shared.cloned().collect();
                self.note(before, &shared);
                if let Some(file) = self.files.get_mut(&key) {
                    file.fading = true;
                }
                return;
            }
            Update::Unreadable(diagnostic) => Some(FileState {
                objects: old.map(|old| old.objects.clone()).unwrap_or_default(),
                whole: old.is_some_and(|old| old.whole),
                diagnostics: vec![diagnostic],
                fading: false,
            }),
            Update::Read(parsed) => Some(keep_last_good(parsed, old)),
        };
        let none = HashMap::new();
        let (was, is) = (
            old.map_or(&none, |old| &old.objects),
            next.as_ref().map_or(&none, |next| &next.objects),
        );
        let was_fading = old.is_some_and(|old| old.fading);
        let object = |(object, _): &(Object, Location)| object.clone();
        let touched: Vec<ObjectRef> = was
            .iter()
            .filter(|(reference, old)| is.get(*reference).map(object).as_ref() != Some(&old.0))
            .map(|(reference, _)| reference)
            .chain(is.keys().filter(|reference| !was.contains_key(*reference)))
            .chain(
                was.keys()
                    .filter(|reference| was_fading && self.contested.contains(*reference)),
            )
            .cloned()
            .collect();
        let gone: Vec<ObjectRef> = was
            .keys()
            .filter(|reference| !is.contains_key(*reference))
            .cloned()
            .collect();
        let come: Vec<ObjectRef> = is
            .keys()
            .filter(|reference| !was.contains_key(*reference))
            .cloned()
            .collect();
        self.note(before, &touched);
        for reference in gone {
            self.disown(&reference, &key);
        }
        for reference in come {
            let owners = self.owners.entry(reference.clone()).or_default();
            owners.push(key.clone());
            if owners.len() > 1 {
                self.contested.insert(reference);
            }
        }
        match next {
            Some(next) => self.files.insert(key, next),
            None => self.files.remove(&key),
        };
    }

    /// Remembers what counted before the first change of a batch.
    fn note(&self, before: &mut HashMap<ObjectRef, Option<Object>>, references: &[ObjectRef]) {
        for reference in references {
            if !before.contains_key(reference) {
                let object = self.winner(reference).map(|(object, _)| object.clone());
                before.insert(reference.clone(), object);
            }
        }
    }

    fn disown(&mut self, reference: &ObjectRef, key: &Arc<FileKey>) {
        let Some(owners) = self.owners.get_mut(reference) else {
            return;
        };
        owners.retain(|owner| owner != key);
        match owners.len() {
            0 => {
                self.owners.remove(reference);
            }
            1 => {
                self.contested.remove(reference);
            }
            _ => {}
        }
    }

    /// All that is wrong, if it is not what was said last.
    fn diagnostics(&mut self) -> Option<Change> {
        let mut all = self.problems.clone();
        for file in self.files.values() {
            all.extend(file.diagnostics.iter().cloned());
        }
        for reference in &self.contested {
            let mut owners: Vec<_> = self.owners.get(reference).into_iter().flatten().collect();
            owners.sort();
            let mut places = owners
                .into_iter()
                .filter_map(|key| self.files.get(key).filter(|file| !file.fading))
                .filter_map(|file| file.objects.get(reference));
            if let Some((_, first)) = places.next() {
                all.extend(places.map(|(_, other)| given_twice(reference, first, other)));
            }
        }
        if self.said.as_ref() == Some(&all) {
            return None;
        }
        self.said = Some(all.clone());
        Some(Change::Files(all))
    }
}

/// What a file holds now: what it says, and of what it says no longer legibly, what it said last.
fn keep_last_good(parsed: Parsed, old: Option<&FileState>) -> FileState {
    let old_objects = || old.map(|old| old.objects.clone()).unwrap_or_default();
    // A file that stops in the middle may have lost anything; before it was ever whole, half of it is better than none.
    if !parsed.whole && old.is_some_and(|old| old.whole) {
        return FileState {
            objects: old_objects(),
            diagnostics: parsed.diagnostics,
            whole: true,
            fading: false,
        };
    }
    let mut objects: HashMap<ObjectRef, (Object, Location)> = parsed
        .objects
        .into_iter()
        .map(|(object, location)| (object.reference(), (object, location)))
        .collect();
    if parsed.nameless {
        for (reference, last) in old_objects() {
            objects.entry(reference).or_insert(last);
        }
    }
    for broken in parsed.broken {
        let last = old.and_then(|old| old.objects.get(&broken.object)).cloned();
        let kept = match (last, broken.guarded) {
            (Some((last, place)), guarded) => {
                let undecoded = guarded.and_then(|(guarded, _)| guarded.meta().undecoded.clone());
                Some((last.with_undecoded(undecoded), place))
            }
            (None, guarded) => guarded,
        };
        if let Some(kept) = kept {
            objects.entry(broken.object).or_insert(kept);
        }
    }
    FileState {
        objects,
        diagnostics: parsed.diagnostics,
        whole: parsed.whole,
        fading: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;
    use std::path::PathBuf;

    fn key(name: &str) -> FileKey {
        FileKey {
            root: 0,
            path: PathBuf::from(name),
        }
    }

    fn read(name: &str, text: &str) -> (FileKey, Update) {
        (key(name), Update::Read(parse(&key(name).path, text)))
    }

    fn service(name: &str, port: &str) -> String {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{ports: [{{port: {port}}}]}}}}\n"
        )
    }

    fn say(changes: Vec<Change>) -> Vec<String> {
        let text = |change| match change {
            Change::Apply(object) => format!("+{}", object.meta().name),
            Change::Delete(reference) => format!("-{}", reference.name),
            Change::Replace { kind, objects, .. } => format!("{kind}={}", objects.len()),
            Change::Files(said) => format!("files={}", said.len()),
            other => format!("{other:?}"),
        };
        changes.into_iter().map(text).collect()
    }

    fn started(files: &[(&str, &str)]) -> State {
        let mut state = State::default();
        state.update(files.iter().map(|(name, text)| read(name, text)).collect());
        state.everything();
        state
    }

    #[test]
    fn only_what_changed_is_said() {
        let mut state = started(&[("a", &(service("x", "1") + &service("w", "1")))]);
        assert_eq!(say(state.everything()).len(), Kind::ALL.len() + 1);
        assert_eq!(
            say(state.update(vec![read("a", &(service("x", "1") + &service("w", "1")))])),
            [""; 0]
        );
        assert_eq!(
            say(state.update(vec![read("a", &(service("x", "2") + &service("z", "1")))])),
            ["+x", "+z", "-w"]
        );
        assert_eq!(say(state.update(vec![(key("a"), Update::Removed)])), ["-x", "-z"]);
    }

    #[test]
    fn an_object_that_moves_never_goes_away() {
        let mut state = started(&[("a", &service("x", "1")), ("b", "")]);
        assert_eq!(
            say(state.update(vec![read("a", ""), read("b", &service("x", "1"))])),
            [""; 0]
        );
        // A rename: the old name fades while the new one is there already.
        assert_eq!(
            say(state.update(vec![(key("b"), Update::Fading), read("c", &service("x", "2"))])),
            ["+x"]
        );
        assert_eq!(say(state.update(vec![(key("b"), Update::Removed)])), [""; 0]);
        assert_eq!(say(state.update(vec![(key("c"), Update::Fading)])), [""; 0]);
        assert_eq!(say(state.update(vec![(key("c"), Update::Removed)])), ["-x"]);
    }

    #[test]
    fn of_two_files_the_first_counts() {
        let mut state = started(&[("a", &service("x", "1"))]);
        assert_eq!(say(state.update(vec![read("b", &service("x", "2"))])), ["files=1"]);
        assert_eq!(say(state.update(vec![(key("a"), Update::Removed)])), ["+x", "files=0"]);
        assert_eq!(say(state.update(vec![read("a", &service("x", "2"))])), ["files=1"]);
        assert_eq!(say(state.update(vec![(key("b"), Update::Removed)])), ["files=0"]);
    }

    #[test]
    fn what_is_broken_keeps_its_last_good_state() {
        let good = service("x", "1") + &service("w", "1");
        let mut state = started(&[("a", &good)]);
        assert_eq!(
            say(state.update(vec![read("a", &(service("x", "2") + "---\na: [\n"))])),
            ["files=1"]
        );
        assert_eq!(
            say(state.update(vec![read("a", &(service("x", "2") + &service("w", "oh")))])),
            ["+x", "files=1"]
        );
        let nameless = "---\napiVersion: v1\nkind: Service\nmetadata: {}\n";
        assert_eq!(
            say(state.update(vec![read("a", &(service("x", "3") + nameless))])),
            ["+x", "files=1"]
        );
        assert_eq!(
            say(state.update(vec![read("a", &service("x", "3"))])),
            ["-w", "files=0"]
        );
    }

    #[test]
    fn half_a_file_is_better_than_none_at_the_start() {
        let mut state = started(&[("a", &(service("x", "1") + "---\na: [\n"))]);
        assert_eq!(
            say(state.update(vec![read("a", &(service("x", "2") + "---\na: [\n"))])),
            ["+x"]
        );
    }

    #[test]
    fn many_changes_are_one_list() {
        let many = |port: &str| {
            (0..300)
                .map(|index| service(&format!("s{index}"), port))
                .collect::<String>()
        };
        let mut state = started(&[("a", &many("1"))]);
        assert_eq!(say(state.update(vec![read("a", &many("2"))])), ["Service=300"]);
    }
}
