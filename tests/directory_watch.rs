//! Manifests from files, watched: what an edit, a rename, a mount's swap and a lost folder lead to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::testing::dialect::{Change, Object};
use narthex::testing::source::directory::run;
use narthex::testing::source::{EVENT_QUEUE, Event, Phase, Watches};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// What anything may take on a busy machine; what must be quick has its own test.
const PATIENCE: Duration = Duration::from_secs(20);

fn service(name: &str, port: u16) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports: [{{port: {port}}}]\n")
}

/// The world as the events tell it.
struct World {
    folder: TempDir,
    events: mpsc::Receiver<Event>,
    watches: Arc<Watches>,
    task: tokio::task::JoinHandle<()>,
    /// Each Service's port.
    ports: BTreeMap<String, i32>,
    files: Vec<String>,
    /// Everything that ever happened.
    log: Vec<String>,
}

impl World {
    async fn start(files: &[(&str, &str)]) -> Self {
        Self::start_at(files, |folder| vec![folder.to_owned()]).await
    }

    async fn start_at(files: &[(&str, &str)], paths: impl Fn(&Path) -> Vec<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let watches = Arc::new(Watches::default());
        let task = tokio::spawn(run(paths(folder.path()), sender, watches.clone()));
        let mut world = Self {
            folder,
            events,
            watches,
            task,
            ports: BTreeMap::new(),
            files: Vec::new(),
            log: Vec::new(),
        };
        world
            .until("the first list", |world| {
                world.log.iter().any(|line| line.starts_with("synced"))
            })
            .await;
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn take(&mut self, event: Event) {
        let port = |object: &Object| match object {
            Object::Service(service) => service.ports[0].port,
            _ => 0,
        };
        match event {
            Event::Together(changes) => changes.into_iter().for_each(|change| self.take(Event::Change(change))),
            Event::Synced(name) => self.log.push(format!("synced {name}")),
            Event::Change(Change::Apply(object)) => {
                let name = object.meta().name.to_string();
                self.log.push(format!("+{name}={}", port(&object)));
                self.ports.insert(name, port(&object));
            }
            Event::Change(Change::Delete(object)) => {
                self.log.push(format!("-{}", object.name));
                self.ports.remove(&*object.name);
            }
            Event::Change(Change::Replace { kind, objects, .. }) => {
                self.log.push(format!("{kind}={}", objects.len()));
                for object in objects {
                    self.ports.insert(object.meta().name.to_string(), port(&object));
                }
            }
            Event::Change(Change::Files(said)) => self.files = said.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn until(&mut self, what: &str, reached: impl Fn(&World) -> bool) -> Duration {
        let start = Instant::now();
        while !reached(self) {
            match tokio::time::timeout(PATIENCE.saturating_sub(start.elapsed()), self.events.recv()).await {
                Ok(Some(event)) => self.take(event),
                _ => panic!("waited for {what}: {:?} {:?} {:?}", self.ports, self.files, self.log),
            }
        }
        start.elapsed()
    }

    async fn port(&mut self, name: &str, port: i32) -> Duration {
        self.until(&format!("{name}={port}"), |world| world.ports.get(name) == Some(&port))
            .await
    }

    async fn gone(&mut self, name: &str) {
        self.until(&format!("no {name}"), |world| !world.ports.contains_key(name))
            .await;
    }

    /// Waits until everything so far has been seen: a last file, written now, is read after it.
    async fn settle(&mut self) {
        let marker = format!("marker-{}", self.log.len());
        self.write(&format!("{marker}.yaml"), &service(&marker, 9));
        self.port(&marker, 9).await;
    }

    fn happened(&self, line: &str) -> bool {
        self.log.iter().any(|happened| happened == line)
    }

    async fn phase(&mut self, wanted: impl Fn(&Phase) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let phases: Vec<_> = self.watches.snapshot().into_values().map(|watch| watch.phase).collect();
            if phases.iter().any(&wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{phases:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn the_first_list_names_every_kind() {
    let world = World::start(&[("a.yaml", &service("a", 1))]).await;
    let synced = format!("synced manifests {}", world.folder.path().display());
    let expected = [
        "Namespace=0",
        "ReferenceGrant=0",
        "TCPRoute=0",
        "TLSRoute=0",
        "GRPCRoute=0",
        "HTTPRoute=0",
        "Gateway=0",
        "GatewayClass=0",
        "ConfigMap=0",
        "Secret=0",
        "Endpoints=0",
        "EndpointSlice=0",
        "Service=1",
        "IngressClass=0",
        "Route=0",
        "Ingress=0",
        &synced,
    ];
    assert_eq!(world.log, expected);
    let watch = world.watches.snapshot().into_values().next().unwrap();
    assert!(watch.required && watch.phase == Phase::Live && watch.last_event.is_some());
}

#[tokio::test]
async fn an_edit_is_quick_in_place_and_by_rename() {
    let mut world = World::start(&[("a.yaml", &(service("a", 1) + &service("b", 1)))]).await;
    let mut times = Vec::new();
    for port in 2..32 {
        let text = service("a", port) + &service("b", 1);
        if port % 2 == 0 {
            world.write("a.yaml", &text);
        } else {
            world.write(".a.yaml.tmp", &text);
            fs::rename(world.at(".a.yaml.tmp"), world.at("a.yaml")).unwrap();
        }
        times.push(world.port("a", port.into()).await);
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
    assert!(
        !world
            .log
            .iter()
            .any(|line| line.starts_with("+b") || line.starts_with('-')),
        "{:?}",
        world.log
    );
}

#[tokio::test]
async fn files_and_folders_come_and_go() {
    let mut world = World::start(&[("a.yaml", &service("a", 1))]).await;
    fs::create_dir_all(world.at("new/deep")).unwrap();
    world.write("new/deep/b.yaml", &service("b", 1));
    world.port("b", 1).await;
    world.write("new/deep/b.yaml", &service("b", 2));
    world.port("b", 2).await;
    fs::remove_file(world.at("a.yaml")).unwrap();
    world.gone("a").await;
    // A folder moved here with all it holds, and away again.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("c.yaml"), service("c", 1)).unwrap();
    fs::rename(elsewhere.path(), world.at("moved")).unwrap();
    world.port("c", 1).await;
    world.write("moved/c.yaml", &service("c", 2));
    world.port("c", 2).await;
    fs::remove_dir_all(world.at("moved")).unwrap();
    world.gone("c").await;
    fs::create_dir(world.at("moved")).unwrap();
    world.write("moved/c.yaml", &service("c", 3));
    world.port("c", 3).await;
    assert_eq!(world.ports.keys().collect::<Vec<_>>(), ["b", "c"]);
}

#[tokio::test]
async fn a_config_map_swap_is_one_step() {
    let mut world = World::start(&[("..1/a.yaml", &service("a", 1)), ("..1/b.yaml", &service("b", 1))]).await;
    let link = |to: &str, name: PathBuf| std::os::unix::fs::symlink(to, name).unwrap();
    link("..1", world.at("..data"));
    link("..data/a.yaml", world.at("a.yaml"));
    link("..data/b.yaml", world.at("b.yaml"));
    world.port("b", 1).await;
    world.port("a", 1).await;
    for round in 2..6 {
        let next = format!("..{round}");
        fs::create_dir(world.at(&next)).unwrap();
        world.write(&format!("{next}/a.yaml"), &service("a", round));
        world.write(&format!("{next}/b.yaml"), &service("b", round));
        link(&next, world.at("..data_tmp"));
        fs::rename(world.at("..data_tmp"), world.at("..data")).unwrap();
        fs::remove_dir_all(world.at(&format!("..{}", round - 1))).unwrap();
        world.port("a", round.into()).await;
        world.port("b", round.into()).await;
    }
    assert!(!world.log.iter().any(|line| line.starts_with('-')), "{:?}", world.log);
}

#[tokio::test]
async fn a_single_file_of_a_config_map_mount_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let link = |to: &str, name: PathBuf| std::os::unix::fs::symlink(to, name).unwrap();
    for round in ["1", "2"] {
        fs::create_dir(at(&format!("..{round}"))).unwrap();
        fs::write(at(&format!("..{round}/a.conf")), service("a", round.parse().unwrap())).unwrap();
    }
    link("..1", at("..data"));
    link("..data/a.conf", at("a.conf"));
    let mut world = World::start_at(&[], |_| vec![at("a.conf")]).await;
    world.port("a", 1).await;
    link("..2", at("..data_tmp"));
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    world.port("a", 2).await;
    // A linked file edited where it really is.
    fs::write(at("..2/a.conf"), service("a", 3)).unwrap();
    world.port("a", 3).await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_objects() {
    let mut world = World::start(&[("a.yaml", &(service("a", 1) + &service("b", 1)))]).await;
    world.write("a.yaml", &(service("a", 2) + "---\nx: [\n"));
    world.until("a complaint", |world| world.files.len() == 1).await;
    let prefix = format!("{}:", world.at("a.yaml").display());
    assert!(world.files[0].starts_with(&prefix), "{:?}", world.files);
    world.settle().await;
    assert_eq!((world.ports["a"], world.ports["b"]), (1, 1));
    world.write(
        "a.yaml",
        &(service("a", 3) + &service("b", 1).replace("port: 1", "port: many")),
    );
    world.port("a", 3).await;
    world.settle().await;
    assert_eq!(world.ports["b"], 1);
    assert!(
        world.files[0].contains("Service default/b: spec.ports[0].port: "),
        "{:?}",
        world.files
    );
    world.write("a.yaml", &service("a", 3));
    world.gone("b").await;
    world.until("no complaint", |world| world.files.is_empty()).await;
}

#[tokio::test]
async fn a_file_half_written_is_not_believed() {
    let mut world = World::start(&[("a.yaml", &(service("a", 1) + &service("b", 1)))]).await;
    let start = Instant::now();
    let mut file = fs::File::create(world.at("a.yaml")).unwrap();
    world.settle().await;
    file.write_all(service("a", 2).as_bytes()).unwrap();
    world.settle().await;
    // A machine so slow that a second has passed may believe it.
    if start.elapsed() < Duration::from_millis(900) {
        assert_eq!((world.ports["a"], world.ports["b"]), (1, 1));
    }
    file.write_all(service("b", 2).as_bytes()).unwrap();
    drop(file);
    world.port("b", 2).await;
    assert!(!world.happened("-a") && !world.happened("-b"), "{:?}", world.log);
}

#[tokio::test]
async fn an_emptied_file_is_believed_after_a_second() {
    let mut world = World::start(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 1))]).await;
    let start = Instant::now();
    world.write("a.yaml", "");
    world.settle().await;
    assert!(world.ports.contains_key("a") || start.elapsed() > Duration::from_millis(900));
    world.gone("a").await;
    assert!(start.elapsed() > Duration::from_millis(900), "{:?}", start.elapsed());
    // A file that stays open is believed as well, once nothing happens to it any more.
    let mut file = fs::File::create(world.at("b.yaml")).unwrap();
    file.write_all(service("b", 2).as_bytes()).unwrap();
    world.port("b", 2).await;
    assert!(!world.happened("-b"), "{:?}", world.log);
}

#[tokio::test]
async fn an_editor_that_moves_the_old_file_away_loses_nothing() {
    let mut world = World::start(&[("a.yaml", &service("a", 1))]).await;
    for port in 2..12 {
        fs::rename(world.at("a.yaml"), world.at("a.yaml~")).unwrap();
        world.write("a.yaml", &service("a", port));
        world.port("a", port.into()).await;
    }
    fs::rename(world.at("a.yaml"), world.at("z.yaml")).unwrap();
    world.settle().await;
    world.write("z.yaml", &service("a", 99));
    world.port("a", 99).await;
    assert!(!world.happened("-a"), "{:?}", world.log);
    assert_eq!(world.files, [""; 0]);
}

#[tokio::test]
async fn a_lost_folder_is_found_again() {
    let mut world = World::start_at(&[("in/a.yaml", &service("a", 1))], |folder| vec![folder.join("in")]).await;
    for port in 2..5 {
        fs::remove_dir_all(world.at("in")).unwrap();
        world
            .phase(|phase| matches!(phase, Phase::Failing(why) if why.contains("is not there")))
            .await;
        fs::create_dir(world.at("in")).unwrap();
        fs::write(world.at("in/a.yaml"), service("a", port)).unwrap();
        world.port("a", port.into()).await;
        world.phase(|phase| *phase == Phase::Live).await;
        fs::write(world.at("in/a.yaml"), service("a", port + 100)).unwrap();
        world.port("a", i32::from(port) + 100).await;
    }
    assert!(!world.happened("-a"), "{:?}", world.log);
    assert_eq!(world.files, [""; 0]);
}

#[tokio::test]
async fn what_a_lost_folder_held_stays_until_it_is_back() {
    let files = [
        ("in/a.yaml", &*service("a", 1)),
        ("in/b.yaml", &service("b", 1)),
        ("other/c.yaml", &service("c", 1)),
        ("single.yaml", &service("d", 1)),
    ];
    let paths = |folder: &Path| ["in", "other", "single.yaml"].map(|name| folder.join(name)).to_vec();
    let mut world = World::start_at(&files, paths).await;
    fs::rename(world.at("in"), world.at("away")).unwrap();
    fs::remove_file(world.at("single.yaml")).unwrap();
    let lost = Instant::now();
    world
        .until("complaints", |world| {
            let about = |name: &str| world.files.iter().any(|said| said.contains(name));
            about("/in: cannot be read") && about("single.yaml: cannot be read")
        })
        .await;
    assert!(
        world.files.iter().all(|said| said.contains("stays in use")),
        "{:?}",
        world.files
    );
    // Longer than a replacement takes; other folders are followed meanwhile.
    let mut port = 1;
    while lost.elapsed() < Duration::from_millis(2500) {
        port += 1;
        world.write("other/c.yaml", &service("c", port));
        world.port("c", port.into()).await;
    }
    assert_eq!((world.ports["a"], world.ports["b"], world.ports["d"]), (1, 1, 1));
    // It comes back with one of the two; the other is believed to be gone only after a while.
    fs::create_dir(world.at("in")).unwrap();
    fs::write(world.at("in/a.yaml"), service("a", 2)).unwrap();
    world.port("a", 2).await;
    world.gone("b").await;
    assert!(!world.happened("-a") && !world.happened("-d"), "{:?}", world.log);
}

#[tokio::test]
async fn it_ends_when_nobody_listens_and_when_dropped() {
    let world = World::start(&[]).await;
    drop(world.events);
    tokio::time::timeout(PATIENCE, world.task).await.unwrap().unwrap();
    let mut world = World::start(&[]).await;
    world.task.abort();
    let closed = async { while world.events.recv().await.is_some() {} };
    tokio::time::timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn a_burst_is_read_to_its_end() {
    let mut world = World::start(&[]).await;
    for index in 0..3000 {
        world.write(
            &format!("{}.yaml", index % 100),
            &service(&format!("s{}", index % 100), index / 100 + 1),
        );
    }
    world
        .until("the last of all", |world| {
            world.ports.len() == 100 && world.ports.values().all(|port| *port == 30)
        })
        .await;
}
