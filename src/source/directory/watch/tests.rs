use super::super::state::Places;
use super::*;
use crate::dialect::Change;
use notify::event::Flag;
use std::fs;
use std::sync::mpsc;

fn service(port: u16) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {{ports: [{{port: {port}}}]}}}}")
}

/// A watch that hears nothing unless it is told.
fn watching(folder: &Path) -> Watching {
    let (sender, _) = tokio::sync::mpsc::channel(16);
    let (signals, _) = mpsc::channel();
    let roots = vec![folder.to_owned()];
    let mut watching = Watching::new(
        roots,
        "m".to_owned(),
        sender,
        Arc::default(),
        Places::default(),
        signals,
    );
    let updates = watching.updates();
    watching.places.state().update(updates);
    watching
}

fn changes(watching: &mut Watching) -> usize {
    let updates = watching.updates();
    let changes = watching.places.state().update(updates);
    changes
        .iter()
        .filter(|change| matches!(change, Change::Apply(_)))
        .count()
}

#[test]
fn a_full_queue_means_reading_everything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, service(1)).unwrap();
    let mut watching = watching(folder.path());
    fs::write(&file, service(2)).unwrap();
    assert_eq!(changes(&mut watching), 0);
    watching.hear(Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert_eq!(changes(&mut watching), 1);
}

#[test]
fn what_is_written_to_while_it_is_read_waits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, service(1)).unwrap();
    let mut watching = watching(folder.path());
    let (signals, heard) = mpsc::channel();
    let event = |kind| Ok(notify::Event::new(kind).add_path(file.clone()));
    let closed = || event(EventKind::Access(AccessKind::Close(AccessMode::Write)));
    let written = event(EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any)));
    fs::write(&file, service(2)).unwrap();
    watching.hear(closed());
    let updates = watching.updates();
    assert_eq!(updates.len(), 1);
    // The word of it comes after the file was read.
    signals.send(Signal::File(written)).unwrap();
    assert!(watching.confirmed(updates, &heard).unwrap().is_empty());
    assert!(watching.updates().is_empty(), "it is still written to");
    watching.hear(closed());
    let updates = watching.updates();
    assert_eq!(watching.confirmed(updates, &heard).unwrap().len(), 1);
    // Nobody has said so, but it is another file by now.
    watching.hear(closed());
    let updates = watching.updates();
    fs::write(&file, service(443)).unwrap();
    assert!(watching.confirmed(updates, &heard).unwrap().is_empty());
}

#[test]
fn a_look_finds_what_nobody_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, service(1)).unwrap();
    let mut watching = watching(folder.path());
    fs::write(folder.path().join("b"), service(22)).unwrap();
    fs::rename(folder.path().join("b"), &file).unwrap();
    watching.look = true;
    assert_eq!(changes(&mut watching), 1);
    watching.look = true;
    assert_eq!(changes(&mut watching), 0);
    assert!(watching.due() <= watching.looked + LOOK);
}

#[test]
fn where_inotify_fails_looks_are_frequent() {
    let folder = tempfile::tempdir().unwrap();
    let mut watching = watching(folder.path());
    watching.deaf = Some("no space left on device".to_owned());
    assert!(watching.due() <= watching.looked + LOOK_OFTEN);
    watching.watches.register("m", true);
    watching.send([]);
    let phase = watching.watches.snapshot().remove("m").unwrap().phase;
    assert!(matches!(phase, crate::source::Phase::Failing(why) if why.contains("looking every second")));
}

#[test]
fn our_own_reading_wakes_nobody() {
    let event = |kind| matters(&Ok(notify::Event::new(kind)));
    assert!(!event(EventKind::Access(AccessKind::Open(AccessMode::Any))));
    assert!(!event(EventKind::Access(AccessKind::Close(AccessMode::Read))));
    assert!(event(EventKind::Access(AccessKind::Close(AccessMode::Write))));
    assert!(event(EventKind::Modify(ModifyKind::Any)));
}
