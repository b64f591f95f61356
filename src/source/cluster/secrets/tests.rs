use super::*;
use crate::source::cluster::Timing;
use crate::source::{Phase, Watches};
use http::{Request, Response};
use kube::client::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// The keeper of named watches before an API server that does the same on every request.
struct Stage {
    wanted: watch::Sender<Wanted>,
    events: mpsc::Receiver<Event>,
    watches: Arc<Watches>,
    began: Instant,
    asked: Arc<AtomicUsize>,
}

/// `answer` is given the number of the request, and none is an answer that never comes.
fn stage(answer: fn(usize) -> Option<(u16, &'static str)>) -> Stage {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = tower::service_fn(move |_: Request<Body>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match answer(number) {
                Some((code, text)) => {
                    let body = Body::from(text.as_bytes().to_vec());
                    Ok::<_, std::io::Error>(Response::builder().status(code).body(body).unwrap())
                }
                None => std::future::pending().await,
            }
        }
    });
    let (sender, events) = mpsc::channel(100);
    let watches = Arc::<Watches>::default();
    watches.register(NAMED_SECRETS, true);
    let cluster = Cluster {
        client: kube::Client::new(server, "default"),
        sender,
        watches: watches.clone(),
        timing: Timing::default(),
        secrets: Arc::default(),
        config_maps: Arc::default(),
    };
    let names = BTreeSet::from([("n".into(), "cert".into())]);
    let (wanted, taken) = watch::channel(Wanted {
        names,
        complete: true,
        ..Wanted::default()
    });
    tokio::spawn(run(cluster, BY_NAME[0], taken));
    Stage {
        wanted,
        events,
        watches,
        began: Instant::now(),
        asked,
    }
}

impl Stage {
    async fn said(&mut self) -> String {
        match self.events.recv().await.unwrap() {
            Event::Synced(name) => format!("synced {name}"),
            Event::Change(change) => format!("{change:?}"),
            Event::Together(changes) => format!("{changes:?}"),
        }
    }

    /// Where it stands once the keeper has nothing more to do.
    async fn phase(&self) -> Phase {
        sleep(Duration::from_millis(1)).await;
        self.watches.snapshot().remove(NAMED_SECRETS).unwrap().phase
    }
}

const NOBODY: fn(usize) -> Option<(u16, &'static str)> = |_| None;

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_an_answer_but_not_for_ever() {
    let mut silent = stage(NOBODY);
    assert_eq!(silent.said().await, "synced secrets by name");
    assert!(silent.began.elapsed() >= ANSWERS_WITHIN, "{:?}", silent.began.elapsed());

    let mut forbidden = stage(|_| Some((403, "no")));
    assert_eq!(forbidden.said().await, "synced secrets by name");
    assert!(
        forbidden.began.elapsed() < ANSWERS_WITHIN,
        "{:?}",
        forbidden.began.elapsed()
    );
    let phase = forbidden.phase().await;
    assert!(format!("{phase:?}").contains("1 of 1; n/cert: forbidden"), "{phase:?}");

    let mut none = stage(|_| Some((200, r#"{"metadata": {"resourceVersion": "5"}, "items": []}"#)));
    assert!(none.said().await.starts_with("Delete("), "what it knows comes first");
    assert_eq!(none.said().await, "synced secrets by name");
    assert!(none.began.elapsed() < ANSWERS_WITHIN, "{:?}", none.began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_until_all_that_want_secrets_are_known() {
    let mut stage = stage(NOBODY);
    stage.wanted.send_modify(|wanted| wanted.complete = false);
    sleep(Duration::from_secs(20)).await;
    assert!(stage.events.try_recv().is_err(), "the first table is not there yet");
    assert_eq!(stage.phase().await, Phase::Listing);
    stage.wanted.send_modify(|wanted| {
        wanted.names.clear();
        wanted.complete = true;
    });
    let before = Instant::now();
    assert_eq!(stage.said().await, "synced secrets by name");
    assert!(
        before.elapsed() < ANSWERS_WITHIN,
        "nothing is wanted, nothing to wait for"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_no_more_is_not_asked_for() {
    let stage = stage(NOBODY);
    let asked = || stage.asked.load(Ordering::Relaxed);
    while asked() < 2 {
        sleep(Duration::from_secs(1)).await;
    }
    stage.wanted.send_modify(|wanted| wanted.names.clear());
    stage.phase().await;
    let before = asked();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(asked(), before);
    assert_eq!(stage.phase().await, Phase::Live);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_panics_is_started_again() {
    let mut stage = stage(|number| {
        assert!(number > 0, "a bug");
        Some((
            200,
            r#"{"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "cert", "namespace": "n"}}]}"#,
        ))
    });
    assert_eq!(stage.said().await, "synced secrets by name");
    let said = stage.said().await;
    assert!(said.starts_with("Apply(Secret("), "{said}");
}

#[test]
fn names_that_no_secret_can_have_are_not_asked_for() {
    let can = |namespace: &str, name: &str| can_be(&(namespace.into(), name.into()));
    assert!(can("team-a", "cert.example-1"));
    for (namespace, name) in [
        ("", "cert"),
        ("team-a", ""),
        ("..", "cert"),
        ("a/b", "cert"),
        ("team-a", "a,type=x"),
        ("team-a", "A b"),
    ] {
        assert!(!can(namespace, name), "{namespace} {name}");
    }
}
