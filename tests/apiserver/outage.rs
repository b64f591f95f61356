//! The API server goes away, comes back, comes back older, or falls silent.

use crate::fixture::{Server, shared};
use crate::world::{Admin, World, hurried, ingress, service};
use narthex::testing::source::cluster::Timing;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

async fn blocking(server: &Arc<Server>, act: impl FnOnce(&Server) + Send + 'static) {
    let server = server.clone();
    tokio::task::spawn_blocking(move || act(&server)).await.unwrap();
}

fn nothing_was_emptied(world: &World, kinds: &[&str]) {
    for kind in kinds {
        let emptied = format!("replace {kind} 0");
        assert!(!world.history.contains(&emptied), "{:?}", world.history);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_a_restored_server_are_caught_up_with() {
    let server = tokio::task::spawn_blocking(|| Arc::new(Server::start("outage")))
        .await
        .unwrap();
    let admin = Admin::of(&server).await;
    admin.namespaces(&["shop"]).await;
    admin.apply(ingress("shop", "kept", "a.example")).await;
    admin.apply(ingress("shop", "old", "a.example")).await;
    admin.apply(service("shop", "web", 80)).await;
    let mut world = World::watch(&server, "admin", &[]).await;
    world.until_synced().await;

    // Killed, and back as it was.
    blocking(&server, Server::kill).await;
    world
        .until("noticed", |world| {
            world.failing("ingresses").is_some() && world.failing("services").is_some()
        })
        .await;
    assert!(
        world.has("Ingress shop/kept") && world.has("Service shop/web"),
        "the last state stays"
    );
    assert!(
        world.failing("ingresses").unwrap().contains("onnect"),
        "{:?}",
        world.failing("ingresses")
    );
    blocking(&server, |server| {
        server.back_up();
        server.resume();
    })
    .await;
    world
        .until("live again", |world| world.live("ingresses") && world.live("services"))
        .await;
    admin.apply(ingress("shop", "new", "a.example")).await;
    admin.delete(ingress("shop", "old", "")).await;
    world
        .until("changes", |world| {
            world.has("Ingress shop/new") && !world.has("Ingress shop/old")
        })
        .await;

    // Killed, and back as it was before the last changes: no event will ever say so.
    blocking(&server, |server| {
        server.kill();
        server.restore();
        server.resume();
    })
    .await;
    world
        .until("the older state", |world| {
            !world.has("Ingress shop/new") && world.has("Ingress shop/old")
        })
        .await;
    admin.apply(ingress("shop", "newer", "a.example")).await;
    world.until("changes", |world| world.has("Ingress shop/newer")).await;
    nothing_was_emptied(&world, &["Ingress", "Service"]);
    assert!(world.has("Ingress shop/kept") && world.has("Service shop/web"));
    world.end().await;
}

/// A way to a server that can fall silent without closing anything, as a network does.
struct Wire {
    port: u16,
    cuts: watch::Sender<()>,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire {
            port: listener.local_addr().unwrap().port(),
            cuts: watch::Sender::default(),
        };
        let cuts = wire.cuts.subscribe();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        // First, so that not a byte passes after the cut.
                        biased;
                        _ = cuts.changed() => {}
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                    }
                    // Never read, never closed.
                    std::future::pending::<()>().await;
                });
            }
        });
        wire
    }

    /// Silences every connection there is. New ones work.
    fn cut(&self) {
        self.cuts.send_replace(());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_given_up() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["silence"]).await;
    admin.apply(ingress("silence", "web", "a.example")).await;
    let wire = Wire::to(server.port()).await;
    let timing = Timing {
        watch_time: Duration::from_secs(3),
        ..hurried()
    };
    let mut world = World::watch_with(server.kubeconfig_at("admin", wire.port), &["silence"], timing).await;
    world.until_synced().await;
    world.until("live", |world| world.live("ingresses in silence")).await;

    wire.cut();
    admin.apply(ingress("silence", "late", "a.example")).await;
    world
        .until("the change behind the silence", |world| {
            world.has("Ingress silence/late")
        })
        .await;
    nothing_was_emptied(&world, &["Ingress"]);
}
